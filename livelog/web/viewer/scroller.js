/* The list of rows: only those in sight, and a margin, are in the document.
 *
 * The place of a row follows from the heights of those above it, so tens of thousands cost no more
 * than a screenful. At the newest row the list follows; anywhere else the rows in sight stay where
 * they are, whatever is added, dropped or measured above or below: one of them is the anchor.
 */
import { element } from "./element.js";
import { Heights } from "./heights.js";
import { Pace } from "./pace.js";

const MARGIN = 8; // rows drawn beyond the edges
const INPUTS = ["wheel", "touchmove", "pointerdown", "keydown"];
/** Within this time after an input the reader has scrolled; later, the layout has changed. */
const INPUT_MS = 2000;

export class Scroller {
  following = true;
  selected = null;

  #box;
  #sheet;
  #timeline;
  #draw;
  #on;
  #drawn = new Map(); // message → its element
  #generation = -1;
  #first = 0;
  #target = null; // a seq to bring into sight
  #revealed = null; // a message to bring into sight with the next frame
  #heights = new Heights();
  #anchor = { place: 0, offset: 0 }; // the visible part begins `offset` pixels after this line's top
  #boxHeight = 0;
  #boxWidth = 0;
  #top = 0; // pixels above the visible part, as they shall be
  #at = 0; // as they are
  #placed = 0; // the same as of the last drawing
  #touched = -Infinity; // time of the reader's last input
  #due = 0;
  #timer = 0;
  #drawnAt = 0;
  #pace = new Pace();
  #stale = false; // the rows that are drawn are to be drawn again

  /** `timeline`: the `Lines` of the list; `draw(message)` makes a row; `on`: handlers for moved, drawn,
   * selected, nearTop, nearBottom, and keeps: whether a row has to stay in the document as it is. */
  constructor(box, timeline, draw, on) {
    this.#box = box;
    this.#timeline = timeline;
    this.#draw = draw;
    this.#on = on;
    this.#sheet = element("div", "sheet");
    this.#sheet.setAttribute("role", "presentation");
    box.append(this.#sheet);
    box.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    const touched = () => (this.#touched = performance.now());
    for (const input of INPUTS) box.addEventListener(input, touched, { passive: true });
    box.addEventListener("click", (event) => this.#clicked(event));
    new ResizeObserver(() => this.measure()).observe(box);
  }

  /** The timeline has changed. */
  update() {
    if (this.#timer || this.#due) return;
    const wait = this.following ? this.#drawnAt + this.#pace.interval - performance.now() : 0;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#soon();
    }, Math.max(0, wait));
  }

  /** Draw all rows again, with the next frame: until then the list keeps those that it has, unless
   * the page is hidden, where no frame comes. */
  redraw() {
    this.#stale = true;
    if (document.hidden) this.#keepOnly(new Map());
    this.#soon();
  }

  /** Take all other rows out of the document. */
  #keepOnly(wanted) {
    for (const [message, row] of this.#drawn) {
      if (wanted.has(message) || this.#on.keeps(row)) continue;
      row.remove();
      this.#drawn.delete(message);
    }
  }

  toEnd() {
    this.select(null);
    this.#follow(true);
    this.#soon();
  }

  toStart() {
    this.#follow(false);
    this.#box.scrollTop = 0;
  }

  /** A screen up (-1) or down (1). */
  page(direction) {
    if (direction < 0) this.#follow(false);
    this.#box.scrollBy(0, direction * (this.#boxHeight - this.#heights.unit));
  }

  /** Bring a message into sight as soon as it is loaded. */
  show(seq) {
    this.#target = seq;
    this.following = false;
    this.#soon();
  }

  /** Select the row `step` further on; the newest one in sight if none is selected. */
  step(step) {
    const { rows } = this.#timeline;
    if (!rows.length) return;
    this.#box.focus({ preventScroll: true }); // so that a screen reader reads the selected row
    const place = this.selected ? rows.indexOf(this.selected) : -1;
    const next = place < 0 ? this.#range().end - 1 : place + step;
    const row = rows[Math.max(0, Math.min(rows.length - 1, next))];
    // A day row always has a message after it, and none or a row before it.
    if (row.type !== "day") this.select(row);
    else if (step > 0 || next > 0) this.select(rows[next + Math.sign(step)]);
  }

  /** Select a message, or none (null). A selected row is being read, so the list stops following.
   * `isLed`: the view leads to it. */
  select(message, isLed = false) {
    this.#mark(false);
    this.selected = message;
    this.#mark(true);
    this.#revealed = message;
    if (!message) return;
    this.#follow(false);
    this.#on.selected(message, isLed);
    this.#soon();
  }

  /** Select none, and follow if the newest row is in sight. */
  release() {
    this.select(null);
    this.#scrolled();
    this.#soon();
  }

  /** The first and the last row in sight that are messages; undefined without any. */
  get inSight() {
    const { begin, end } = this.#range();
    const rows = this.#timeline.rows.slice(begin, end).filter(({ type }) => type !== "gap");
    return [rows[0], rows.at(-1)];
  }

  #follow(following) {
    if (following === this.following) return;
    this.following = following;
    this.#on.moved();
  }

  #mark(selected) {
    this.#drawn.get(this.selected)?.setAttribute("aria-selected", String(selected));
    if (selected && this.selected) {
      this.#box.setAttribute("aria-activedescendant", `row-${this.selected.seq}`);
    } else this.#box.removeAttribute("aria-activedescendant");
  }

  #clicked({ target }) {
    const row = target.closest(".row");
    if (!row || target.closest("button, .handle") || !getSelection().isCollapsed) return;
    const found = [...this.#drawn].find(([, drawn]) => drawn === row);
    if (found && found[0].type !== "gap") this.select(found[0]); // day rows are no `.row`
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.#box;
    this.#top = this.#at = scrollTop;
    const atEnd = scrollTop + clientHeight >= scrollHeight - 2;
    const free = this.#target === null && this.selected === null;
    // While following, each drawing scrolls: if this one did it, what is there has been drawn.
    if (!this.following || Math.abs(scrollTop - this.#placed) >= 1) this.#soon();
    if (atEnd && free && this.#timeline.complete) this.#follow(true);
    else if (!atEnd && performance.now() - this.#touched < INPUT_MS) this.#follow(false);
  }

  /** The box has another size, or its rows another height. */
  measure() {
    const { clientHeight, clientWidth } = this.#box;
    const style = getComputedStyle(this.#box);
    const unit = parseFloat(style.getPropertyValue("--row-height")) || this.#heights.unit;
    const wraps = Number(style.getPropertyValue("--lines")) > 1;
    const isOther = unit !== this.#heights.unit || wraps !== this.#heights.wraps;
    if (isOther || (wraps && clientWidth !== this.#boxWidth)) {
      this.#findAnchor();
      this.#heights.reset(unit, wraps);
      this.#settle();
      this.#revealed = this.selected;
    }
    this.#boxHeight = clientHeight;
    this.#boxWidth = clientWidth;
    this.#soon();
  }

  #soon() {
    this.#due ||= requestAnimationFrame(() => {
      this.#due = 0;
      this.#frame();
    });
  }

  /** The scroll position is computed first and set last: to read it in between costs a layout. */
  #frame() {
    this.#drawnAt = performance.now();
    this.#findAnchor();
    if (this.#stale) this.#begin();
    this.#keepPlace();
    this.#goToTarget();
    this.#settle();
    this.#reveal();
    this.#fill();
    if (!this.#reveal()) this.#revealed = null;
    else this.#soon(); // it was measured only now
    if (this.#top !== this.#at) this.#box.scrollTop = this.#top;
    this.#at = this.#placed = this.#top;
    const { first, rows } = this.#timeline;
    this.#pace.drawn(first + rows.length, this.#boxHeight / this.#heights.unit);
    this.#askForMore();
    this.#on.drawn();
  }

  /** All rows are to be drawn again; they may have other heights then. */
  #begin() {
    this.#stale = false;
    this.#keepOnly(new Map());
    this.#heights.reset(this.#heights.unit, this.#heights.wraps);
  }

  /** The selected row if it is in sight, else the first one whose height is known: the others grow
   * away from it. */
  #findAnchor() {
    const { begin, end } = this.#range();
    let place = this.selected ? this.#heights.find(this.selected, begin, end) : -1;
    for (let at = begin; place < 0 && at < end; at += 1) if (this.#heights.isKnown(at)) place = at;
    if (place < 0) place = begin;
    this.#anchor = { place, offset: this.#top - this.#heights.topOf(place) };
  }

  /** Keep the rows in sight where they are when rows above are added or dropped. */
  #keepPlace() {
    const { rows, first, generation } = this.#timeline;
    this.#heights.follow(rows);
    if (generation !== this.#generation) {
      this.#generation = generation;
      this.#anchor = { place: 0, offset: this.#top };
      this.select(null);
    } else this.#anchor.place += this.#first - first;
    this.#first = first;
  }

  #goToTarget() {
    const { rows } = this.#timeline;
    if (this.#target === null || !rows.length) return;
    const found = rows.findIndex(({ type, seq }) => type !== "day" && seq >= this.#target);
    const place = Math.max(0, found);
    this.#anchor = { place, offset: (this.#heights.unit - this.#boxHeight) / 2 };
    this.#target = null;
    this.select(rows[place], true);
  }

  /** Return whether the rows had to be moved. */
  #reveal() {
    const place = this.#revealed ? this.#timeline.rows.indexOf(this.#revealed) : -1;
    if (place < 0) return false;
    const top = this.#heights.topOf(place);
    const least = this.#heights.topOf(place + 1) - this.#boxHeight;
    if (this.#top > top || least > top) this.#anchor = { place, offset: 0 };
    else if (this.#top < least) this.#anchor = { place: place + 1, offset: -this.#boxHeight };
    else return false;
    const before = this.#top;
    this.#settle();
    return this.#top !== before;
  }

  /** Set the visible part by the anchor; while following, by the end. */
  #settle() {
    const end = Math.max(0, this.#heights.total - this.#boxHeight);
    const top = this.#heights.topOf(this.#anchor.place) + this.#anchor.offset;
    this.#top = this.following ? end : Math.max(0, Math.min(end, top));
  }

  #range() {
    const begin = this.#heights.placeAt(this.#top);
    const end = this.#heights.placeAt(this.#top + this.#boxHeight - 1) + 1;
    return { begin: Math.max(0, begin), end: Math.min(end, this.#heights.length) };
  }

  #fill() {
    const { rows } = this.#timeline;
    const { begin, end } = this.#range();
    const from = Math.max(0, begin - MARGIN);
    const wanted = new Map();
    for (let place = from; place < Math.min(end + MARGIN, rows.length); place += 1) {
      wanted.set(rows[place], place);
    }
    this.#keepOnly(wanted);
    let last = null;
    for (const message of wanted.keys()) last = this.#drawn.get(message) ?? this.#add(message, last);
    this.#measureNew(wanted);
    this.#sheet.style.height = `${this.#heights.total}px`;
    for (const [message, place] of wanted) {
      const row = this.#drawn.get(message);
      row.style.transform = `translateY(${this.#heights.topOf(place)}px)`;
      if (message.type !== "day") this.#number(row, place);
    }
  }

  /** Measure the new rows where they wrap, all at once: that costs one layout. They are higher than
   * was thought, if anything, so those that were drawn suffice. */
  #measureNew(wanted) {
    const fresh = [...wanted].filter(([, place]) => !this.#heights.isKnown(place));
    if (!fresh.length) return;
    const heights = fresh.map(([message]) => this.#drawn.get(message).offsetHeight);
    this.#heights.note(fresh.map(([, place], at) => [place, heights[at]]));
    this.#settle();
  }

  #number(row, line) {
    const { place, of } = this.#timeline.placeOf(line);
    row.setAttribute("aria-posinset", String(place));
    row.setAttribute("aria-setsize", String(of));
  }

  /** Rows are in the document in their order, so that text is selected in it. */
  #add(message, last) {
    const row = this.#draw(message);
    if (message.type !== "day") row.setAttribute("aria-selected", String(message === this.selected));
    this.#drawn.set(message, row);
    if (last) last.after(row);
    else this.#sheet.prepend(row);
    return row;
  }

  #askForMore() {
    const { begin, end } = this.#range();
    const screen = Math.max(20, end - begin);
    if (begin < screen) this.#on.nearTop();
    if (end > this.#timeline.rows.length - screen && !this.following) this.#on.nearBottom();
  }
}
