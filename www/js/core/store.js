// What the page knows: one slice a resource kind, each changed only by its pure reducer (js/state). The store turns
// items of the connection into envelopes with an age and an origin, feeds them to the reducers in batches, and says
// that something changed.

import { DaemonClock } from './time.js';
import { parse_id } from './kinds.js';
import { SLICES } from '../state/slices.js';

export class Store {
  constructor({ clock = new DaemonClock(), changed = () => {} } = {}) {
    this.clock = clock;
    this.changed = changed;
    this.listeners = new Set();
    this.hello = null;
    this.first_version = null;
    this.complete = false;
    this.gaps = [];
    this.link = { status: 'connecting', counters: {}, worked: false };
    this.lost_at = null;
    this.slices = Object.fromEntries(SLICES.map((slice) => [slice.name, slice.initial()]));
  }

  /** Takes a batch of items from the connection, in order. */
  take(items) {
    let events = [];
    for (const item of items) {
      if (item.is === 'event') {
        events.push(item.envelope);
        continue;
      }
      this.apply(events, false);
      events = [];
      if (item.is === 'now') this.clock.take(item.now);
      else if (item.is === 'hello') this.greet(item.payload);
      else if (item.is === 'snapshot') {
        this.apply(item.state, true);
        this.complete = true;
      } else if (item.is === 'gap') {
        this.gaps = [...this.gaps.slice(-9), { ...item.payload, mono: this.clock.mono() }];
      }
    }
    this.apply(events, false);
    this.changed();
  }

  /** Takes what the connection says of itself. */
  take_status(link) {
    const up = link.status === 'live' || link.status === 'polling';
    if (up) this.lost_at = null;
    else this.lost_at ??= this.clock.mono();
    this.link = link;
    this.changed();
  }

  /** Calls `listener(envelope)` for every event that is not part of a snapshot, until `signal` aborts. */
  listen(listener, signal) {
    this.listeners.add(listener);
    signal?.addEventListener('abort', () => this.listeners.delete(listener));
  }

  /** Whether values may be taken for the present ones; a loss shorter than a second does not count. */
  connected() {
    return this.lost_at === null || this.clock.mono() - this.lost_at < 1_000;
  }

  /** The epoch of the running daemon, from `hello` or the cursor. */
  epoch() {
    return Number(this.hello?.epoch ?? parse_id(this.link.cursor)?.[0] ?? NaN);
  }

  /** Whether this page is of another version than the daemon. */
  outdated() {
    return this.hello !== null && this.hello.version !== this.first_version;
  }

  /** What the person may do: `operate` where nothing is said. */
  may_operate() {
    return !['view', 'publish'].includes(this.hello?.role ?? 'operate');
  }

  /** Whether the person may change the box itself: its clock, its configuration. */
  may_admin() {
    return (this.hello?.role ?? 'admin') === 'admin';
  }

  greet(hello) {
    this.hello = hello;
    this.first_version ??= hello.version;
  }

  apply(envelopes, whole) {
    if (!envelopes.length && !whole) return;
    const entries = envelopes.map((envelope) => this.entry(envelope));
    for (const slice of SLICES) {
      const mine = entries.filter((e) => slice.types.includes(e.type));
      if (mine.length || whole) this.slices[slice.name] = slice.reduce(this.slices[slice.name], mine, whole);
    }
    if (!whole) for (const envelope of envelopes) for (const listener of this.listeners) listener(envelope);
  }

  /** An envelope as reducers see it. `born` is when it was true, on the clock's `mono()`. */
  entry(envelope) {
    const payload = envelope.payload ?? {};
    const stamp = envelope.corrected ?? payload.timestamp ?? payload.updated ?? envelope.timestamp;
    return {
      type: envelope.type, id: envelope.id, epoch: parse_id(envelope.id)?.[0] ?? NaN, topic: envelope.topic, payload,
      stamp, born: this.clock.born(stamp) ?? this.clock.mono(), got: this.clock.mono(),
      quality: envelope.quality ?? null, quality_reason: envelope.quality_reason ?? null,
    };
  }
}
