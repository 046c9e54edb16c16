// What a chart draws: columns of numbers in typed arrays that never grow, and the sums about them. Pure.
// NaN stands for "no value"; a row of NaN is a gap, which is drawn as one.

/** Points that a live chart shows. */
export const SHOWN = 1_000;
/** A pause this many times longer than the usual distance is a gap. */
const GAP_TIMES = 3;

const numeric = (value) => (typeof value === 'number' && Number.isFinite(value) ? value : NaN);

/** The newest `most` rows of one x and several y. Rows are written into arrays twice that long, moved back when full. */
export class Points {
  constructor(columns, most = SHOWN) {
    this.most = most;
    this.arrays = Array.from({ length: columns + 1 }, () => new Float64Array(2 * most));
    this.end = 0;
    this.begin = 0;
    this.version = 0;
  }

  /** Whole columns, x first; null is no value. */
  static of(columns) {
    const it = new Points(columns.length - 1, Math.max(1, columns[0].length));
    columns.forEach((column, i) => column.forEach((value, row) => { it.arrays[i][row] = numeric(value); }));
    it.end = columns[0].length;
    it.version = 1;
    return it;
  }

  get length() {
    return this.end - this.begin;
  }

  push(x, ys) {
    if (this.end === this.arrays[0].length) {
      for (const array of this.arrays) array.copyWithin(0, this.end - this.most + 1, this.end);
      this.end = this.most - 1;
      this.begin = 0;
    }
    this.arrays[0][this.end] = numeric(x);
    for (let i = 1; i < this.arrays.length; i += 1) this.arrays[i][this.end] = numeric(ys[i - 1]);
    this.end += 1;
    this.begin = Math.max(this.begin, this.end - this.most);
    this.version += 1;
  }

  /** What was before is not joined with what comes. */
  gap() {
    if (this.length && !Number.isNaN(this.arrays[0][this.end - 1])) this.push(NaN, []);
  }

  /** One more y column, unknown in the rows there are. */
  widen() {
    this.arrays.push(new Float64Array(2 * this.most).fill(NaN));
    this.version += 1;
  }

  clear() {
    this.begin = 0;
    this.end = 0;
    this.version += 1;
  }

  /** [x, y, y, ...] as they stand: views, no copies. */
  columns() {
    return this.arrays.map((array) => array.subarray(this.begin, this.end));
  }
}

/** What stands for the rest of a condensed line comes less evenly than values do. */
export const CONDENSED_GAP_TIMES = 10;

/** A distance on an x axis of time above which there is a gap: so many times the usual (median) one. Infinity while unknown. */
export function gap_step(x, times = GAP_TIMES) {
  const apart = [];
  for (let i = 1; i < x.length; i += 1) if (x[i] > x[i - 1]) apart.push(x[i] - x[i - 1]);
  if (apart.length < 3) return Infinity;
  apart.sort((a, b) => a - b);
  return times * apart[apart.length >> 1];
}

/** One line over time as a chart takes it: {points, step}. */
export const line_over_time = (x, y, times) => ({ points: Points.of([x, y]), step: gap_step(x, times) });

/** [least, most] of the numbers in an array, or null when there is none. */
export function extent(array) {
  let least = Infinity;
  let most = -Infinity;
  for (const value of array) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return least <= most ? [least, most] : null;
}

/** One extent over several, or null. */
export function whole(extents) {
  const known = extents.filter(Boolean);
  return known.length ? [Math.min(...known.map(([a]) => a)), Math.max(...known.map(([, b]) => b))] : null;
}

/** A range that is not a point: a flat line has room above and below. */
export function roomy([least, most]) {
  if (most > least) return [least, most];
  const room = least === 0 ? 1 : Math.abs(least) * 0.05;
  return [least - room, most + room];
}

/** How many values are known, and where they lie: what a screen reader is told of a series. */
export function figures(array) {
  let n = 0;
  let last = NaN;
  for (const value of array) {
    if (Number.isNaN(value)) continue;
    n += 1;
    last = value;
  }
  const range = extent(array);
  return { n, least: range?.[0] ?? null, most: range?.[1] ?? null, last: n ? last : null };
}

/**
 * The strokes of a series: [{from, to}], runs of rows without a gap between. A gap is a missing value, or one that lies
 * more than `step` after the one before it; a jump back by more than `back` begins the next sweep. A run of one is a dot, as no line would show it.
 */
export function runs(x, y, { step = Infinity, back = Infinity } = {}) {
  const out = [];
  let run = null;
  for (let i = 0; i < y.length; i += 1) {
    if (Number.isNaN(y[i]) || Number.isNaN(x[i])) run = null;
    else {
      if (run && (x[i] - x[run.to] > step || x[run.to] - x[i] > back)) run = null;
      if (run) run.to = i;
      else out.push((run = { from: i, to: i }));
    }
  }
  return out;
}

/** How many gaps a series has. */
export const gaps = (x, y, step) => Math.max(0, runs(x, y, { step }).length - 1);

/** The row nearest to a place on the screen: `px`, `py` in pixels, `to_x`, `to_y` turn values into them. Null when none. */
export function nearest(x, y, px, py, to_x, to_y, reach = 40) {
  let best = null;
  let least = reach * reach;
  for (let i = 0; i < y.length; i += 1) {
    if (Number.isNaN(y[i]) || Number.isNaN(x[i])) continue;
    const dx = to_x(x[i]) - px;
    // Along x counts more: people point at a moment, not at a height.
    const dy = (to_y(y[i]) - py) / 8;
    const d = dx * dx + dy * dy;
    if (d < least) {
      least = d;
      best = i;
    }
  }
  return best;
}

/** Places behind the decimal point that tell ticks apart which are `step` from each other. */
export function places(step) {
  for (let n = 0; n < 12; n += 1) {
    const scaled = step * 10 ** n;
    if (Math.abs(scaled - Math.round(scaled)) < 1e-6 * Math.max(1, scaled)) return n;
  }
  return 12;
}
