// The samples of one signal that the page holds: asked for once for the part of time that is looked at, then taken from
// the batches as they come, and asked for again when something between is missing or what is looked at is another part.

import { Remote } from './remote.js';
import { MOST, anomalies, in_range, merge, sample } from '../state/signal_view.js';

/** Points of a condensed answer, and how many may come on top of it before it is asked for anew. */
const POINTS = 1_600;
const ON_TOP = 2_000;
/** Not more often than this, whatever comes. */
const PAUSE_MS = 1_000;
/** The newest ones: asked for, and held. */
const TABLE = 100;
const NEWEST = 1_000;

export class SignalSamples {
  constructor(app, id, { range, signal }) {
    Object.assign(this, { app, id, range, signal });
    const path = `api/signals/${encodeURIComponent(id)}/events`;
    this.past = new Remote(app, path, { query: () => this.query(), signal });
    this.latest = new Remote(app, path, { query: () => ({ limit: TABLE }), signal });
    /** What is drawn: samples, or what stands for them. */
    this.samples = [];
    this.condensed = false;
    /** What the answer said of all it stands for, besides what came since. */
    this.said = { samples: 0, anomalies: 0, after: -1 };
    /** The newest, one by one. */
    this.newest = [];
    this.version = 0;
    this.asked_at = -Infinity;
    app.store.listen((envelope) => {
      if (envelope.type === 'signal_batch' && envelope.payload?.signal_id === id) this.take(envelope.payload.events ?? []);
    }, signal);
    signal.addEventListener('abort', () => clearTimeout(this.waiting));
  }

  query() {
    this.asked = this.range();
    const at = (ms) => new Date(ms).toISOString();
    // Without an end: what comes while it is asked for is in it.
    return this.asked ? { from: at(this.asked[0]), to: this.whole_past ? at(this.asked[1]) : null, points: POINTS } : { limit: POINTS };
  }

  /** Asks for what is looked at; `whole_past` when that does not reach to the newest sample. */
  async load(whole_past = false) {
    clearTimeout(this.waiting);
    const wait = this.asked_at + PAUSE_MS - performance.now();
    if (wait > 0) {
      this.waiting = setTimeout(() => this.load(whole_past), wait);
      return;
    }
    this.asked_at = performance.now();
    this.whole_past = whole_past;
    const [body, newest] = await Promise.all([this.past.load(), this.newest.length ? null : this.latest.load()]);
    if (this.signal.aborted) return;
    if (newest) this.newest = merge(this.newest, newest.events, NEWEST).samples;
    this.app.ticker.now();
    if (!body) return;
    this.condensed = body.method === 'minmax';
    const asked = body.events.map(sample);
    // What came meanwhile stays.
    const last = asked.at(-1)?.seq ?? -1;
    const since = whole_past ? [] : this.newest.filter((s) => s.seq > last);
    this.samples = [...asked, ...since];
    this.said = { samples: body.samples, anomalies: body.anomalies, after: last };
    this.complete = body.complete;
    this.still = whole_past;
    this.version += 1;
    this.app.ticker.now();
    // It was not known yet what is looked at, or too much came in between.
    if ((!this.asked && this.range()) || (since.length && since[0].seq > last + 1)) this.load(whole_past);
  }

  take(events) {
    this.newest = merge(this.newest, events, NEWEST).samples;
    if (this.still || this.past.status === 'loading') return;
    const { samples, gap } = merge(this.samples, events, MOST);
    this.samples = samples;
    this.version += 1;
    const on_top = this.condensed ? samples.filter((s) => s.seq > this.said.after).length : 0;
    // Full, and something that is looked at had to go.
    const cut = samples.length >= MOST && samples[0].at > (this.range()?.[0] ?? Infinity);
    if (gap || cut || on_top > ON_TOP) this.load();
  }

  /** How many samples and anomalies are in what is looked at. */
  counts([from, to]) {
    const seen = in_range(this.samples, [from, to]);
    if (!this.condensed) return { samples: seen.length, anomalies: anomalies(seen).length };
    const since = seen.filter((s) => s.seq > this.said.after);
    return { samples: this.said.samples + since.length, anomalies: this.said.anomalies + anomalies(since).length };
  }

  /** After a reset nothing of before is shown. */
  forget() {
    this.samples = [];
    this.newest = [];
    this.said = { samples: 0, anomalies: 0, after: -1 };
    this.version += 1;
  }
}
