// The rows of one measurement of a scan as the page keeps them: the newest SHOWN in typed arrays for the chart, the last
// few whole for the table. Rows are numbered without a gap; what is missing shows by its number. Pure but for itself.

import { Points, SHOWN, extent, gap_step } from './chart.js';

/** Rows of the table. */
export const LATEST = 50;
/** Columns that are kept as numbers; a scan may have more, which the table and the files have. */
const COLUMNS = 64;

/** Columns that every measurement has. */
export const INDEX = 'index';
export const T_REL = 't_rel';

export class Rows {
  constructor(most = SHOWN) {
    // x of the points is the number of the row, their first y its time.
    this.points = new Points(1, most);
    this.names = [];
    this.latest = [];
    this.last = null;
  }

  /** 'known' when it was had before, 'hole' when one before it is missing (and nothing is taken), else 'taken'. */
  take(row, { anyway = false } = {}) {
    if (this.last !== null && row.index <= this.last) return 'known';
    if (this.last !== null && row.index > this.last + 1) {
      if (!anyway) return 'hole';
      this.points.gap();
    }
    for (const name of Object.keys(row.data)) {
      if (this.names.length >= COLUMNS) break;
      if (!this.names.includes(name)) {
        this.names.push(name);
        this.points.widen();
      }
    }
    this.points.push(row.index, [row.t_rel, ...this.names.map((name) => number_of(row.data[name]))]);
    this.last = row.index;
    this.latest.push(row);
    if (this.latest.length > LATEST) this.latest.shift();
    return 'taken';
  }

  get version() {
    return this.points.version;
  }

  /** What a chart of these columns draws: `points` as parts/chart.js takes them, with `step` and `back`. */
  chart(x, ys) {
    const version = `${this.version}/${x}/${ys}`;
    if (this.drawn?.points.version === version) return this.drawn;
    const columns = () => {
      const all = this.points.columns();
      const place = (name) => (name === INDEX ? 0 : name === T_REL ? 1 : this.names.includes(name) ? this.names.indexOf(name) + 2 : null);
      return [x, ...ys].map((name) => all[place(name)] ?? new Float64Array(this.points.length).fill(NaN));
    };
    const along = columns()[0];
    this.drawn = {
      points: { source: this, version, length: known(along), columns },
      ...(x === T_REL ? { step: gap_step(along) } : {}), ...sweep(x, along),
    };
    return this.drawn;
  }
}

const number_of = (value) => (typeof value === 'boolean' ? Number(value) : value);

function known(array) {
  let n = 0;
  for (const value of array) if (!Number.isNaN(value)) n += 1;
  return n;
}

/** Where a set-point goes back over most of its range, the next sweep begins. */
export function sweep(x, values) {
  const range = x === INDEX || x === T_REL ? null : extent(values);
  return range && range[1] > range[0] ? { back: (range[1] - range[0]) / 2 } : {};
}

// ---- from the wire ----

/** The rows of a `data_point`, a `data_batch`, or an answer of GET data, in order. */
export function rows_of({ sequence_index, first_index, data = {}, t_rel, timestamp, quality = {} }) {
  const many = Array.isArray(sequence_index) || sequence_index === undefined;
  if (!many) return [{ index: sequence_index, t_rel: t_rel ?? null, timestamp: timestamp ?? null, data, quality }];
  const length = Array.isArray(sequence_index) ? sequence_index.length : Math.max(0, ...Object.values(data).map((column) => column.length));
  const names = Object.keys(data);
  return Array.from({ length }, (_, i) => ({
    index: sequence_index?.[i] ?? (first_index ?? 0) + i,
    t_rel: t_rel?.[i] ?? null,
    timestamp: Array.isArray(timestamp) ? timestamp[i] ?? null : null,
    data: Object.fromEntries(names.map((name) => [name, data[name][i] ?? null])),
    quality: quality[sequence_index?.[i] ?? (first_index ?? 0) + i] ?? {},
  }));
}

// ---- what to draw ----

const drawable = (column) => ['number', 'integer', 'boolean', undefined, null].includes(column.dtype);

/** Columns as declared; those of a scan that declared none are known by their names alone. */
export function columns_of(declared, names) {
  const said = declared ?? [];
  return [...said, ...names.filter((name) => !said.some((c) => c.name === name)).map((name) => ({ name, role: 'measured' }))];
}

/** Everything a chart can be drawn over, and everything that can be drawn. */
export const xs_of = (columns) => [...columns.filter(drawable).map((c) => c.name), T_REL, INDEX];
export const ys_of = (columns) => columns.filter(drawable).map((c) => c.name);

const YS = 4;

/** {x, ys} for who has not chosen: the innermost axis, else time; every measured column, at most four. */
export function default_axes(columns) {
  const axes = columns.filter((c) => drawable(c) && Number.isInteger(c.axis)).sort((a, b) => b.axis - a.axis);
  const measured = columns.filter((c) => drawable(c) && c.role !== 'setpoint' && !Number.isInteger(c.axis));
  const rest = measured.length ? measured : columns.filter((c) => drawable(c) && c.name !== axes[0]?.name);
  return { x: axes[0]?.name ?? T_REL, ys: rest.slice(0, YS).map((c) => c.name) };
}

/** The choice as far as the columns still allow it, else the default. */
export function axes_of(columns, wish) {
  const preset = default_axes(columns);
  const ys = (wish.ys ?? []).filter((name) => ys_of(columns).includes(name));
  return { x: xs_of(columns).includes(wish.x) ? wish.x : preset.x, ys: ys.length ? ys : preset.ys };
}
