/* Messages per second and type over the last three minutes, as a small chart.
 *
 * A ring of seconds with a count for each type: it never grows. It is drawn once a second, while
 * the page is visible.
 */
import { TYPES } from "../client/livelog.js";

const SECONDS = 180;
const AVERAGED = 5; // seconds, for the figures in words

export class Rates {
  #canvas;
  #report;
  #counts = Array.from({ length: SECONDS }, () => new Map());
  #second = Math.floor(performance.now() / 1000);

  /** `report(rates)` is called once a second: messages per second for each type. */
  constructor(canvas, report) {
    this.#canvas = canvas;
    this.#report = report;
    setInterval(() => this.#tick(), 1000);
  }

  count({ type }) {
    const counts = this.#now();
    counts.set(type, (counts.get(type) ?? 0) + 1);
  }

  /** The counts of this second; those of seconds that have passed since are emptied. */
  #now() {
    const second = Math.floor(performance.now() / 1000);
    const passed = Math.min(SECONDS, second - this.#second);
    for (let back = 0; back < passed; back += 1) this.#counts[(second - back) % SECONDS].clear();
    this.#second = second;
    return this.#counts[second % SECONDS];
  }

  #tick() {
    this.#now();
    if (document.hidden) return;
    this.#report(Object.fromEntries(TYPES.map((type) => [type, this.#average(type)])));
    this.#draw();
  }

  #average(type) {
    let sum = 0;
    for (let back = 1; back <= AVERAGED; back += 1) sum += this.#at(back).get(type) ?? 0;
    return sum / AVERAGED;
  }

  #at(back) {
    return this.#counts[(this.#second - back + SECONDS) % SECONDS];
  }

  #draw() {
    const scale = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (!width) return;
    this.#canvas.width = width * scale;
    this.#canvas.height = height * scale;
    const pen = this.#canvas.getContext("2d");
    pen.scale(scale, scale);
    const sums = Array.from({ length: SECONDS - 1 }, (_, back) => sum(this.#at(back + 1)));
    const most = Math.max(1, ...sums);
    this.#canvas.title = `At most ${most} messages a second in the last ${SECONDS / 60} minutes`;
    const style = getComputedStyle(this.#canvas);
    const colors = TYPES.map((type) => [type, style.getPropertyValue(`--${type}`)]);
    const step = width / (SECONDS - 1);
    for (let back = 1; back < SECONDS; back += 1) {
      let bottom = height;
      for (const [type, color] of colors) {
        const tall = ((this.#at(back).get(type) ?? 0) / most) * (height - 1);
        if (!tall) continue;
        pen.fillStyle = color;
        pen.fillRect(width - back * step, bottom - tall, Math.max(1, step), tall);
        bottom -= tall;
      }
    }
  }
}

function sum(counts) {
  let total = 0;
  for (const count of counts.values()) total += count;
  return total;
}
