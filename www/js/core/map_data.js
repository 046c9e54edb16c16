// The points of a scan over two axes for a map: what is stored by pages of three columns, then the rows that the page
// takes in anyway (core/scan_data.js), as long as they join without a hole; else what is missing is asked for again.

import { read } from './api.js';
import { MapPoints, POINTS, map_of } from '../state/heatmap.js';
import { INDEX } from '../state/rows.js';

/** Points of one answer, the most there may be. */
const PAGE = 8_192;
const AGAIN_MS = 1_000;
const FAULT_MS = 4_000;
/** Asked so often for rows that are not stored either, they are left out. */
const GIVE_UP = 3;
/** A map is made anew at most every so many times as long as it takes, so that a big one leaves the page its time. */
const REST = 10;

export class MapData {
  constructor(app, path, signal) {
    Object.assign(this, { app, path, signal, points: new MapPoints(), key: null, rows: null });
  }

  /** Takes in what there is of these columns; called when the page is drawn. `last`: the newest stored row, as far as known. */
  follow({ measurement, x, y, value, rows, stored, last }) {
    const key = JSON.stringify([measurement, x, y, value, stored]);
    if (key !== this.key || rows !== this.rows) this.begin(key, rows, stored, last);
    if (!this.caught) this.ask({ measurement, x, y: `${y},${value}` });
    else this.take(rows.chart(INDEX, [x, y, value]).points.columns(), stored);
  }

  begin(key, rows, stored, last) {
    this.points.clear();
    Object.assign(this, { key, rows, caught: !stored, asking: null, fault: null, again_at: -Infinity, tries: 0, map: null, made: null, made_at: -Infinity });
    // Of more rows than are kept, the newest.
    this.last = stored && typeof last === 'number' ? Math.max(-1, last - POINTS) : -1;
    this.left_out = this.last + 1;
  }

  take([index, x, y, value], stored) {
    const first = index.findIndex((i) => i > this.last);
    if (first < 0) return;
    // What was before the rows that the page keeps.
    if (stored && first === 0 && index[0] > this.last + 1 && this.tries < GIVE_UP) {
      this.tries += 1;
      this.caught = false;
      this.again_at = this.tries > 1 ? performance.now() + AGAIN_MS : -Infinity;
      return;
    }
    this.tries = 0;
    for (let i = first; i < index.length; i += 1) {
      if (Number.isNaN(index[i])) continue;
      this.points.push(x[i], y[i], value[i]);
      this.last = index[i];
    }
  }

  async ask({ measurement, x, y }) {
    if (this.asking || performance.now() < this.again_at) return;
    const asking = (this.asking = {});
    try {
      for (let more = true; more;) {
        const from = this.last + 1;
        const { body } = await read(`${this.path}/chart`, { query: { measurement, x, y, method: 'raw', points: PAGE, from }, signal: this.signal, limit_ms: 20_000 });
        if (asking !== this.asking) return;
        const [xs, ys, values] = body.data;
        for (let i = 0; i < xs.length; i += 1) {
          // A row of nulls is a pause, which a map has none of.
          if (ys[i] !== null) this.points.push(xs[i], ys[i], values[i]);
        }
        const last = body.last_index ?? -1;
        this.last = Math.max(this.last, Math.min(last, from + PAGE - 1));
        more = this.last < last;
        this.app.ticker.mark();
      }
      Object.assign(this, { caught: true, fault: null });
    } catch (error) {
      if (asking !== this.asking || this.signal.aborted) return;
      this.fault = error.message;
      this.again_at = performance.now() + FAULT_MS;
    } finally {
      if (asking === this.asking) this.asking = null;
    }
    this.app.ticker.now();
  }

  /** The map as it is now, or null. */
  now() {
    const at = performance.now();
    if (this.made === this.points.version || at < this.made_at + REST * (this.took ?? 0)) return this.map;
    this.map = map_of(this.points.columns());
    this.made = this.points.version;
    this.made_at = performance.now();
    this.took = this.made_at - at;
    return this.map;
  }

  /** Rows that are too old to be kept. */
  lost() {
    return this.left_out + this.points.lost;
  }
}
