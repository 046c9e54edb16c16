// A scan over two axes as a map: which columns span it, its points as cells, and the colours of values. Pure.
// x is the inner axis, y the outer one. Of a point that was measured more than once the newest row counts, also when it
// has no value: a cell without one is NaN, never a number. Cells are as wide as each other, whatever lies between the
// set-points; a set-point that is missing in an even row of them has its empty cells.

import { ys_of } from './rows.js';

/** Cells along an axis; set-points beyond that share cells, each of which is then a mean. */
export const CELLS = 400;
/** Rows that are kept for a map, the newest: 400 x 400 and some more passes. Six megabytes at most. */
export const POINTS = 262_144;
/** Set-points nearer than this share of themselves, or of the range, are the same one, computed another way. */
const SAME = 1e-9;
const SAME_OF_RANGE = 1e-12;
/** How far a distance may be from a multiple of the least one, in least ones, for a row to be even. */
const EVEN = 0.02;
/** An even row may have this many times more set-points than were seen. */
const SPARSE = 4;

// ---- what can be looked at ----

/** {x, y}: the two columns that span a map, or null where there are not exactly two axes. */
export function map_axes(columns) {
  const axes = new Map();
  for (const column of columns) {
    if (!Number.isInteger(column.axis) || !ys_of([column]).length) continue;
    const known = axes.get(column.axis);
    if (!known || (known.role !== 'setpoint' && column.role === 'setpoint')) axes.set(column.axis, column);
  }
  if (axes.size !== 2) return null;
  const [outer, inner] = [...axes.keys()].sort((a, b) => a - b);
  return { x: axes.get(inner).name, y: axes.get(outer).name };
}

/** Columns that a map can show, measured ones first. */
export function map_values(columns, { x, y }) {
  const set = (name) => { const c = columns.find((it) => it.name === name); return c.role === 'setpoint' || Number.isInteger(c.axis); };
  const names = ys_of(columns).filter((name) => name !== x && name !== y);
  return [...names.filter((name) => !set(name)), ...names.filter(set)];
}

// ---- points ----

const number_of = (value) => (typeof value === 'boolean' ? Number(value) : typeof value === 'number' && Number.isFinite(value) ? value : NaN);

/** x, y and value of the newest `most` rows, in order. */
export class MapPoints {
  constructor(most = POINTS) {
    this.most = most;
    this.clear();
  }

  clear() {
    this.arrays = [0, 1, 2].map(() => new Float64Array(Math.min(1_024, this.most)));
    this.end = 0;
    this.lost = 0;
    this.version = (this.version ?? 0) + 1;
  }

  get length() {
    return this.end;
  }

  push(x, y, value) {
    if (this.end === this.arrays[0].length) this.room();
    this.arrays[0][this.end] = number_of(x);
    this.arrays[1][this.end] = number_of(y);
    this.arrays[2][this.end] = number_of(value);
    this.end += 1;
    this.version += 1;
  }

  /** Twice as much, or the oldest eighth goes. */
  room() {
    const size = this.arrays[0].length;
    if (size < this.most) {
      this.arrays = this.arrays.map((old) => { const more = new Float64Array(Math.min(this.most, 2 * size)); more.set(old); return more; });
      return;
    }
    const gone = Math.max(1, size >> 3);
    for (const array of this.arrays) array.copyWithin(0, gone);
    this.end -= gone;
    this.lost += gone;
  }

  columns() {
    return this.arrays.map((array) => array.subarray(0, this.end));
  }
}

// ---- cells ----

/** The set-points of an axis, rising: those seen, and those missing in an even row of them. */
export function axis_values(column) {
  const seen = Float64Array.from(new Set(column)).filter((v) => !Number.isNaN(v)).sort();
  if (seen.length < 2) return seen;
  const range = SAME_OF_RANGE * (seen.at(-1) - seen[0]);
  const values = [];
  for (const v of seen) if (!values.length || v - values.at(-1) > Math.max(range, SAME * Math.abs(v))) values.push(v);
  return filled(values);
}

function filled(values) {
  if (values.length < 3) return Float64Array.from(values);
  let step = Infinity;
  for (let i = 1; i < values.length; i += 1) step = Math.min(step, values[i] - values[i - 1]);
  const places = values.map((v) => (v - values[0]) / step);
  const many = Math.round(places.at(-1)) + 1;
  if (many === values.length || many > SPARSE * values.length || places.some((at) => Math.abs(at - Math.round(at)) > EVEN)) return Float64Array.from(values);
  const all = Float64Array.from({ length: many }, (_, i) => values[0] + ((values.at(-1) - values[0]) * i) / (many - 1));
  places.forEach((at, i) => { all[Math.round(at)] = values[i]; });
  return all;
}

/** Where a value lies among rising ones: the nearest. */
function place_of(values, v) {
  let low = 0;
  let high = values.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < v) low = middle + 1;
    else high = middle;
  }
  return low > 0 && v - values[low - 1] < values[low] - v ? low - 1 : low;
}

/** The cells along an axis: [{from, to}], one or several set-points each. */
function cells_of(values, most) {
  const n = Math.min(values.length, most);
  const first = (i) => Math.ceil((i * values.length) / n);
  return Array.from({ length: n }, (_, i) => ({ from: values[first(i)], to: values[first(i + 1) - 1] }));
}

/**
 * The map of columns [x, y, value]: {xs, ys, values, counts, least, most, filled, points, binned, raw}. `values` has a row
 * of `xs.length` for each of `ys`, rising, NaN where there is none; `counts` how many points each is the mean of;
 * `raw` [set-points along x, along y]. Null when no point lies anywhere.
 */
export function map_of([x, y, v], most = CELLS) {
  const [along, up] = [axis_values(x), axis_values(y)];
  if (!along.length || !up.length) return null;
  const [xs, ys] = [cells_of(along, most), cells_of(up, most)];
  const values = new Float64Array(xs.length * ys.length);
  const counts = new Uint32Array(values.length);
  const seen = new Set();
  for (let i = v.length - 1; i >= 0; i -= 1) {
    if (Number.isNaN(x[i]) || Number.isNaN(y[i])) continue;
    const [column, row] = [place_of(along, x[i]), place_of(up, y[i])];
    const key = row * along.length + column;
    if (seen.has(key)) continue;
    seen.add(key);
    if (Number.isNaN(v[i])) continue;
    const cell = Math.floor((row * ys.length) / up.length) * xs.length + Math.floor((column * xs.length) / along.length);
    values[cell] += v[i];
    counts[cell] += 1;
  }
  let [least, greatest, filled] = [null, null, 0];
  for (let i = 0; i < values.length; i += 1) {
    if (counts[i]) {
      values[i] /= counts[i];
      filled += 1;
      if (least === null || values[i] < values[least]) least = i;
      if (greatest === null || values[i] > values[greatest]) greatest = i;
    } else values[i] = NaN;
  }
  return { xs, ys, values, counts, least, most: greatest, filled, points: seen.size, binned: along.length > most || up.length > most, raw: [along.length, up.length] };
}

/** The cell of set-points, or of the nearest there are: {column, row}. */
export function cell_at(map, x, y) {
  const near = (cells, v) => place_of(cells.map(({ from, to }) => (v >= from && v <= to ? v : v < from ? from : to)), v);
  return { column: near(map.xs, x), row: near(map.ys, y) };
}

/** Where an arrow leads, rows counted upwards; null when the key is none. */
export function moved({ column, row }, key, map) {
  const to = {
    ArrowLeft: [column - 1, row], ArrowRight: [column + 1, row], ArrowUp: [column, row + 1], ArrowDown: [column, row - 1],
    Home: [0, row], End: [map.xs.length - 1, row], PageUp: [column, map.ys.length - 1], PageDown: [column, 0],
  }[key];
  if (!to) return null;
  const within = (v, n) => Math.min(n - 1, Math.max(0, v));
  return { column: within(to[0], map.xs.length), row: within(to[1], map.ys.length) };
}

// ---- colours ----

const SHADES = 256;
/** Oklab lightness of the least and the greatest value: both are seen on black and on white. */
export const LIGHTNESS = [0.3, 0.9];
/** Hue in degrees, from blue by green to yellow; chroma at most, and shades over which it is evened out. */
const HUE = [285, 105];
const CHROMA = 0.16;
const SMOOTH = 40;

/**
 * 256 colours [r, g, b] from the least to the greatest value. Lightness rises in even steps of Oklab (Björn Ottosson,
 * "A perceptual color space for image processing", 2020), so equal differences look equal, also without seeing colours.
 */
export function ramp() {
  const shades = Array.from({ length: SHADES }, (_, i) => {
    const at = i / (SHADES - 1);
    return { light: LIGHTNESS[0] + at * (LIGHTNESS[1] - LIGHTNESS[0]), hue: ((HUE[0] + at * (HUE[1] - HUE[0])) * Math.PI) / 180 };
  });
  const colour = ({ light, hue }, chroma) => srgb(light, chroma * Math.cos(hue), chroma * Math.sin(hue));
  // As much colour as a screen has of it, without the corners of that: never more than the least nearby.
  const most = shades.map((it) => {
    let chroma = CHROMA;
    while (chroma > 0 && colour(it, chroma).some((c) => c < 0 || c > 1)) chroma -= 0.002;
    return chroma;
  });
  const near = (list, i) => list.slice(Math.max(0, i - SMOOTH), i + SMOOTH + 1);
  const least = most.map((_, i) => Math.min(...near(most, i)));
  return shades.map((it, i) => {
    const some = near(least, i);
    return colour(it, some.reduce((a, b) => a + b) / some.length).map((c) => Math.round(255 * Math.min(1, Math.max(0, c))));
  });
}

function srgb(light, a, b) {
  const l = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (light - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s, -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s, -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s]
    .map((c) => (c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055));
}

/** The shade of a value between least and greatest; in the middle where all are the same. */
export const shade = (value, least, most) => (most > least ? Math.round(((value - least) / (most - least)) * (SHADES - 1)) : SHADES >> 1);

/** RGBA of every cell, the greatest y first, as a picture has it; a cell without a value is transparent. */
export function picture(map, colours) {
  const [wide, high] = [map.xs.length, map.ys.length];
  const out = new Uint8ClampedArray(4 * wide * high);
  if (map.least === null) return out;
  const [least, most] = [map.values[map.least], map.values[map.most]];
  for (let row = 0; row < high; row += 1) {
    for (let column = 0; column < wide; column += 1) {
      const value = map.values[row * wide + column];
      if (Number.isNaN(value)) continue;
      const to = 4 * ((high - 1 - row) * wide + column);
      out.set(colours[shade(value, least, most)], to);
      out[to + 3] = 255;
    }
  }
  return out;
}
