/* The bars of the histogram: counts by type in stretches of equal length, from the first message on.
 *
 * The rule: there are at most `MOST` of them. When live messages need more, each stretch gets longer.
 */

export const MOST = 120;
const DAY = 86_400;
/** Lengths of a stretch, in seconds; each is a multiple of one before, but for the week. */
const LENGTHS = [1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, DAY, 7 * DAY];
const MOST_BUCKETS = 2000; // an answer has

/** Return the interval to ask for, for a range that lasts so many seconds: as fine as is allowed. */
export function intervalFor(seconds) {
  return lengthFor(seconds / (MOST_BUCKETS - 2));
}

function lengthFor(seconds) {
  return LENGTHS.find((length) => length >= seconds) ?? Math.ceil(seconds / DAY) * DAY;
}

export class Bars {
  /** Seconds of each stretch. */
  length = 1;
  /** Unix time at which the first one begins. */
  start = 0;
  /** A map for each stretch: type → count. */
  bars = [];

  /** `buckets` as the analytics answer; `from` and `to` in Unix seconds, or null where the messages
   * themselves are the bounds. */
  constructor(buckets = [], from = null, to = null) {
    const counted = buckets.map(({ start, groups }) => [Date.parse(start) / 1000, groups ?? {}]);
    if (!counted.length && from === null) return;
    const first = from ?? counted[0][0];
    const last = Math.max(first, to ?? counted.at(-1)?.[0] ?? first);
    this.#cover(first, last);
    for (const [at, groups] of counted) {
      for (const [type, count] of Object.entries(groups)) this.add(at, type, count);
    }
  }

  /** Unix time at which the last stretch ends. */
  get end() {
    return this.start + this.bars.length * this.length;
  }

  get most() {
    return Math.max(0, ...this.bars.map(total));
  }

  /** Count messages of a type at a time; those before the first stretch are in it. */
  add(at, type, count = 1) {
    if (!this.bars.length) this.#cover(at, at);
    while (at >= this.end) this.#extend(at);
    const bar = this.bars[Math.max(0, Math.floor((at - this.start) / this.length))];
    bar.set(type, (bar.get(type) ?? 0) + count);
  }

  /** Return the time at a share, from 0 to 1, of the whole width. */
  timeAt(share) {
    return this.start + Math.min(1, Math.max(0, share)) * (this.end - this.start);
  }

  /** Return the share of the width at which a time is. */
  shareOf(at) {
    const share = (at - this.start) / (this.end - this.start || 1);
    return Math.min(1, Math.max(0, share));
  }

  #cover(first, last) {
    this.length = lengthFor((last - first) / (MOST - 1));
    this.start = Math.floor(first / this.length) * this.length;
    const many = Math.floor((last - this.start) / this.length) + 1;
    this.bars = Array.from({ length: many }, () => new Map());
  }

  #extend(at) {
    const more = Math.floor((at - this.end) / this.length) + 1;
    if (this.bars.length + more <= MOST) {
      for (let added = 0; added < more; added += 1) this.bars.push(new Map());
      return;
    }
    const { bars, start, length } = this;
    this.#cover(start, at);
    bars.forEach((bar, place) => {
      for (const [type, count] of bar) this.add(start + place * length, type, count);
    });
  }
}

/** Return how many messages a stretch has. */
export function total(bar) {
  let sum = 0;
  for (const count of bar.values()) sum += count;
  return sum;
}
