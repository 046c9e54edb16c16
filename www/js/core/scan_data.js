// The rows of one scan, whole and in order: what is stored is asked for once, then the stream adds to it. Rows are
// numbered, so what the stream did not bring (a page opened late, a connection that was away) shows and is asked for
// from the first missing one; until that is answered, what comes after it waits. Events only wait here; they are taken in
// when the page is drawn.

import { read } from './api.js';
import { outcome } from './remote.js';
import { Points, SHOWN } from '../state/chart.js';
import { is_live } from '../state/lab_queue.js';
import { Rows, rows_of, sweep } from '../state/rows.js';

/** Rows of one answer. */
const PAGE = 1_000;
/** Rows that wait; what is more is asked for again, as it is stored. */
const WAITING = 4_000;
/** Asked so often for rows that are not stored either, they are left out, as a gap. */
const GIVE_UP = 3;
/** After a question that failed the next one waits: 1, 2, 4 s, and so on. */
const WAIT_MS = 1_000;
const WAIT_MOST_MS = 4_000;
/** The whole of a scan that still runs is asked for again this often at most. */
const WHOLE_MS = 5_000;
/** Points of the whole. */
const WHOLE_POINTS = 1_000;

export class ScanData {
  /** Ends with `signal`. */
  constructor(app, id, signal) {
    Object.assign(this, { app, id, signal, path: `api/scans/${encodeURIComponent(id)}` });
    this.status = 'loading';
    this.reason = null;
    this.detail = null;
    this.measurements = new Set();
    this.measurement = null;
    this.rows = new Rows();
    this.waiting = [];
    this.loading = false;
    this.filling = false;
    this.stored = true;
    this.begin();
    this.whole = null;
    this.whole_asked = null;
    this.was_connected = true;
    app.store.listen((envelope) => this.event(envelope), signal);
    this.load();
  }

  /** Nothing of this measurement was asked for yet. */
  begin() {
    // Stored rows that are not here: they are asked for before anything else is taken.
    this.wanted = true;
    this.failures = 0;
    this.fault = null;
    this.again_at = -Infinity;
    this.hole = { index: null, tries: 0 };
  }

  // ---- what comes ----

  event({ type, payload }) {
    if (payload?.scan_id !== this.id) return;
    if (type === 'data_point' || type === 'data_batch') {
      this.measurements.add(payload.measurement);
      this.measurement ??= this.detail || this.status === 'absent' ? payload.measurement : null;
      if (payload.measurement !== this.measurement && this.measurement !== null) return;
      for (const row of rows_of(payload)) this.waiting.push({ measurement: payload.measurement, row });
      if (this.waiting.length > WAITING) this.waiting.splice(0, this.waiting.length - WAITING);
    } else if (type === 'scan_status' && !is_live(payload.status)) {
      this.ended = true;
    }
  }

  /** Takes in what came; called when the page is drawn. */
  take() {
    const connected = this.app.store.connected();
    const back = connected && !this.was_connected;
    this.was_connected = connected;
    // What it is could not be asked for yet. A short time without a connection shows only by that.
    if (!this.detail && ['error', 'denied'].includes(this.status)) {
      if (back || (this.status === 'error' && performance.now() >= this.again_at)) this.load({ quietly: true });
      return;
    }
    // The end of a scan, or of a time without a connection, may have passed unseen.
    if ((back || this.ended) && this.measurement !== null) {
      if (this.ended) this.refresh();
      this.ended = false;
      this.wanted = true;
      this.again_at = -Infinity;
    }
    if (this.filling || this.status === 'loading' || this.measurement === null) return;
    if (this.wanted && this.stored) {
      this.fill();
      return;
    }
    let done = 0;
    for (const { measurement, row } of this.waiting) {
      if (measurement === this.measurement && this.rows.take(row, { anyway: !this.stored || this.gone(row) }) === 'hole') {
        this.missed(row);
        break;
      }
      done += 1;
    }
    this.waiting.splice(0, done);
  }

  /** Rows before this one are missing. */
  missed({ index }) {
    this.hole = { index, tries: this.hole.index === index ? this.hole.tries + 1 : 1 };
    // They may not be stored yet.
    if (this.hole.tries > 1) this.again_at = performance.now() + WAIT_MS;
    this.wanted = true;
    this.fill();
  }

  /** Whether those before this one were asked for, answered, and are not there. */
  gone({ index }) {
    return this.hole.index === index && this.hole.tries >= GIVE_UP;
  }

  // ---- what is asked for ----

  /** What the scan is, and then its rows. `quietly`: that it failed before stays on the screen until there is an answer. */
  async load({ quietly = false } = {}) {
    if (this.loading) return;
    this.loading = true;
    if (!quietly) this.status = 'loading';
    const done = await this.refresh();
    this.loading = false;
    if (done) {
      this.begin();
      this.measurement ??= this.names()[0] ?? null;
      await this.fill({ at_once: true });
    }
    this.app.ticker.now();
  }

  async refresh() {
    try {
      const { body } = await read(this.path, { signal: this.signal });
      this.detail = body;
      this.status = 'ok';
      return true;
    } catch (error) {
      if (this.signal.aborted) return false;
      Object.assign(this, outcome(error));
      this.stored = this.status !== 'absent';
      if (!this.detail && this.stored) this.failed(error);
      if (!this.stored) this.measurement ??= this.waiting[0]?.measurement ?? null;
      return false;
    }
  }

  /** Rows after the last that is here, up to the newest. `at_once` also when one has just failed. */
  async fill({ at_once = false } = {}) {
    if (this.filling || !this.stored || this.measurement === null) return;
    if (!at_once && performance.now() < this.again_at) return;
    this.filling = true;
    const { measurement } = this;
    try {
      for (let from = await this.first(); from !== null && from !== undefined;) {
        const { body } = await read(`${this.path}/data`, { query: { measurement, from, limit: PAGE }, signal: this.signal });
        if (measurement !== this.measurement) break;
        for (const row of rows_of(body)) this.rows.take(row, { anyway: true });
        // More came in the meantime than is shown: from the newest on.
        from = body.next ?? null;
        if (from !== null && body.last_index - from >= SHOWN) from = body.last_index - SHOWN + 1;
      }
      if (measurement === this.measurement) Object.assign(this, { wanted: false, failures: 0, fault: null });
    } catch (error) {
      if (this.signal.aborted) return;
      if (measurement === this.measurement) this.failed(error);
    } finally {
      this.filling = false;
    }
    // Another one was chosen meanwhile.
    if (measurement !== this.measurement) await this.fill({ at_once: true });
    this.app.ticker.now();
  }

  failed(error) {
    this.stored = outcome(error).status !== 'absent';
    if (!this.stored) return;
    this.failures += 1;
    this.fault = error.message;
    this.again_at = performance.now() + Math.min(WAIT_MOST_MS, WAIT_MS * 2 ** (this.failures - 1));
  }

  /** Where to begin asking. */
  async first() {
    if (this.rows.last !== null) return this.rows.last + 1;
    const last = this.detail?.last_index?.[this.measurement];
    return typeof last === 'number' ? Math.max(0, last - SHOWN + 1) : 0;
  }

  /** Points of the whole scan for these axes; asked for when they are others, or older than they may be. */
  ask_whole(x, ys, live) {
    const key = `${this.measurement}/${x}/${ys}/${live}`;
    const at = performance.now();
    const asked = this.whole_asked;
    const good = !live && !this.whole?.fault;
    if (asked?.key === key && (asked.busy || good || at - asked.at < WHOLE_MS)) return this.whole;
    if (asked?.key !== key && this.whole?.axes !== `${x}/${ys}`) this.whole = null;
    this.whole_asked = { key, at, busy: true };
    this.load_whole(x, ys, this.whole_asked);
    return this.whole;
  }

  async load_whole(x, ys, asked) {
    try {
      const { body } = await read(`${this.path}/chart`, { query: { measurement: this.measurement, x, y: ys.join(','), points: WHOLE_POINTS }, signal: this.signal, limit_ms: 20_000 });
      if (asked !== this.whole_asked) return;
      const points = Points.of(body.data);
      this.whole = { points, total: body.total, method: body.method, axes: `${x}/${ys}`, ...sweep(x, points.columns()[0]) };
    } catch (error) {
      if (asked === this.whole_asked) this.whole = { fault: error.message, axes: `${x}/${ys}` };
    }
    asked.busy = false;
    asked.at = performance.now();
    this.app.ticker.now();
  }

  // ---- what the person does ----

  choose(measurement) {
    if (measurement === this.measurement) return;
    Object.assign(this, { measurement, rows: new Rows(), waiting: [], whole: null, whole_asked: null });
    this.begin();
    this.fill();
    this.app.ticker.now();
  }

  // ---- what views read ----

  /** Names of every measurement. */
  names() {
    return [...new Set([...Object.keys(this.detail?.columns ?? {}), ...Object.keys(this.detail?.num_points ?? {}), ...this.measurements])];
  }

  declared() {
    return this.detail?.columns?.[this.measurement] ?? [];
  }
}
