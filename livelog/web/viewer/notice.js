/* The notice: one message to the reader, shown for a while. */

const SHOWN_MS = 8000;

export class Notice {
  #place;
  #timer = 0;

  constructor(place) {
    this.#place = place;
  }

  show(words, kind = "", ms = SHOWN_MS) {
    clearTimeout(this.#timer);
    this.#place.textContent = words;
    this.#place.dataset.kind = kind;
    this.#place.hidden = false;
    this.#timer = setTimeout(() => {
      this.#place.hidden = true;
    }, ms);
  }
}
