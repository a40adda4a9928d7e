/* The histogram over the rows: messages of the view by time and type. Its range can be narrowed by
 * drawing over it; a band shows where the rows in sight are. Live it moves.
 */
import { TYPES } from "../client/livelog.js";
import { Bars, intervalFor, total } from "./bars.js";
import { count } from "./format.js";
import { dateOf, moment } from "./time.js";

const DAY = 86_400;
const DRAW_MS = 500; // between two drawings
const LEAST_DRAG = 4; // pixels; less is a click

export class Histogram {
  #pages;
  #parts;
  #narrow;
  #bars = new Bars();
  #shown = null; // the view, while it is shown
  #abort = new AbortController();
  #sight = null; // Unix times of the first and the last row in sight
  #drag = null; // shares of the width, from and to
  #timer = 0;

  /** `parts`: panel, canvas, label; `narrow(from, to)` gets the range that was drawn, as ISO 8601. */
  constructor(pages, parts, narrow) {
    this.#pages = pages;
    this.#parts = parts;
    this.#narrow = narrow;
    const { canvas } = parts;
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", () => this.#end());
    canvas.addEventListener("pointercancel", () => this.#dragged(null));
    new ResizeObserver(() => this.#soon()).observe(canvas);
  }

  close() {
    this.#abort.abort();
    this.#shown = null;
    this.#parts.panel.hidden = true;
  }

  async open(view) {
    this.close();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.#shown = view;
    this.#bars = new Bars();
    this.#parts.panel.hidden = false;
    this.#say("counting …");
    try {
      const bars = await this.#fetch(view, signal);
      if (signal.aborted) return;
      this.#bars = bars;
      this.#soon();
    } catch (error) {
      if (!signal.aborted) this.#say(`could not count: ${error.message}`);
    }
  }

  /** Without a range days are counted first, to find one. */
  async #fetch(view, signal) {
    const ask = async (seconds, asked) => {
      const wanted = { group_by: "type", interval_seconds: seconds };
      return (await this.#pages.analyze({ ...view, ...asked }, wanted, signal)).buckets;
    };
    const bound = (iso) => (iso ? Date.parse(iso) / 1000 : null);
    const [from, to] = [bound(view.from), bound(view.to)];
    if (from !== null) {
      const last = to ?? Date.now() / 1000;
      return new Bars(await ask(intervalFor(last - from), {}), from, to);
    }
    const days = await ask(DAY, {});
    if (!days.length) return new Bars([], null, to);
    const first = Date.parse(days[0].start) / 1000;
    const seconds = (to ?? Date.parse(days.at(-1).start) / 1000 + DAY) - first;
    return new Bars(await ask(intervalFor(seconds), {}), null, to);
  }

  /** A message of the view has arrived. */
  count({ type, timestamp }) {
    if (!this.#shown || this.#shown.to) return;
    const at = dateOf(timestamp).getTime() / 1000;
    if (!(at >= this.#bars.start) || at > Date.now() / 1000 + DAY) return; // a sender's clock is wrong
    this.#bars.add(at, type);
    this.#soon();
  }

  /** These are the first and the last row in sight; null without any. */
  place(first, last) {
    if (!this.#shown) return;
    const times = [first, last].map((row) => dateOf(row?.timestamp).getTime() / 1000);
    const sight = times.some(Number.isNaN) ? null : times.sort((one, other) => one - other);
    if (String(sight) === String(this.#sight)) return;
    this.#sight = sight;
    this.#soon();
  }

  // Drawing a range.

  #begin(event) {
    if (event.button !== 0 || !this.#bars.bars.length) return;
    this.#parts.canvas.setPointerCapture(event.pointerId);
    this.#dragged([this.#shareAt(event), this.#shareAt(event)]);
  }

  #move(event) {
    if (this.#drag) this.#dragged([this.#drag[0], this.#shareAt(event)]);
    else this.#tell(this.#shareAt(event));
  }

  #end() {
    const drag = this.#drag;
    this.#dragged(null);
    if (!drag) return;
    const [from, to] = drag.sort((one, other) => one - other);
    if ((to - from) * this.#parts.canvas.clientWidth < LEAST_DRAG) return;
    const iso = (share) => new Date(Math.round(this.#bars.timeAt(share) * 1000)).toISOString();
    this.#narrow(iso(from), iso(to));
  }

  #dragged(drag) {
    this.#drag = drag;
    this.#draw();
  }

  #shareAt({ clientX }) {
    const { left, width } = this.#parts.canvas.getBoundingClientRect();
    return Math.min(1, Math.max(0, (clientX - left) / (width || 1)));
  }

  #tell(share) {
    const { bars, start, length } = this.#bars;
    const place = Math.min(bars.length - 1, Math.floor(share * bars.length));
    if (place < 0) return;
    const words = [...bars[place]].map(([type, many]) => `${type} ${many.toLocaleString("en")}`);
    const at = moment(new Date((start + place * length) * 1000).toISOString());
    this.#parts.canvas.title = [at, count(total(bars[place]), "message"), ...words].join("\n");
  }

  // Drawing.

  #soon() {
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      if (this.#shown && !document.hidden) this.#draw();
    }, DRAW_MS);
  }

  #say(words) {
    const { canvas, label } = this.#parts;
    if (label.textContent !== words) label.textContent = words;
    canvas.setAttribute("aria-label", `Messages over time: ${words}`);
  }

  #draw() {
    const { canvas } = this.#parts;
    const { bars, start, end, most } = this.#bars;
    const scale = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width) return;
    canvas.width = width * scale;
    canvas.height = height * scale;
    if (!bars.length) return this.#say("no message");
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const style = getComputedStyle(canvas);
    this.#band(pen, this.#shares(), style.getPropertyValue("--choice"));
    const step = width / bars.length;
    bars.forEach((bar, place) => {
      let bottom = height;
      for (const type of TYPES) {
        const tall = ((bar.get(type) ?? 0) / (most || 1)) * (height - 2);
        pen.fillStyle = style.getPropertyValue(`--${type}`);
        pen.fillRect(place * step, bottom - tall, Math.max(1, step - 1), tall);
        bottom -= tall;
      }
    });
    this.#band(pen, this.#drag, style.getPropertyValue("--brush"));
    const times = [start, end].map((at) => moment(new Date(at * 1000).toISOString()));
    this.#say(`${times[0]} – ${times[1]} · at most ${most.toLocaleString("en")} in a bar`);
  }

  #shares() {
    return this.#sight?.map((at) => this.#bars.shareOf(at)) ?? null;
  }

  #band(pen, shares, color) {
    if (!shares) return;
    const { clientWidth: width, clientHeight: height } = this.#parts.canvas;
    const [from, to] = [...shares].sort((one, other) => one - other);
    pen.fillStyle = color;
    pen.fillRect(from * width - 1, 0, Math.max(3, (to - from) * width), height);
  }
}
