// The one connection of this browser to the daemon, in the shared worker or, without one, in the page: the only module
// that opens an EventSource. It does what connection_machine.js decides, keeps the cursor, leaves out what was seen
// before, and hands on batches of items in order:
//
//   {is:'hello', payload}  {is:'now', now}            the daemon's clock and identity
//   {is:'snapshot', cursor, state:[envelope]}         replaces every state value
//   {is:'event', envelope}                            newer than anything handed on for its key
//   {is:'gap', payload}                               records between two ids are gone; a snapshot follows by itself
//
// It keeps the newest envelope of every state key, so that a tab that joins later is given a whole picture.

import { address, post, random_id, read } from './api.js';
import * as machine from './connection_machine.js';
import { CONTROL, RECORDS, STATE, is_after, parse_id, state_key } from './kinds.js';

/** Items are handed on together, this often. */
const FLUSH_MS = 50;
/** State at most this often per key: numbers change at most 4 times a second anyway. */
const INTERVAL = '250ms';
/** A reader that was away so long that this many pages of history wait takes a snapshot instead. */
const CATCH_UP_PAGES = 20;
const PAGE = 500;
/** Topics nobody wants any more are kept this long, so that going back and forth costs nothing. */
const LINGER_MS = 10_000;
const TELEMETRY_MS = 30_000;
const REPORTED = ['reconnects', 'drops', 'stalls', 'gaps', 'poll_failures'];
/** The daemon takes no larger count. */
const MOST_REPORTED = 10_000;

export class Link {
  /** `tell.items(list)`, `tell.status(status)` are called when there is something new. */
  constructor({ tell, settings = {}, transport }) {
    this.tell = tell;
    this.transport = transport;
    this.machine = machine.initial(settings);
    this.timers = new Map();
    this.source = null;
    this.aborts = new Set();
    this.topics = ['global'];
    this.types = [];
    this.asked = '';
    this.needs_state = false;
    this.cursor = null;
    this.last_record = null;
    this.keys = new Map();
    this.hello = null;
    this.frames = null;
    this.heard_at = performance.now();
    this.clock = null;
    this.outbox = [];
    this.status_sent = '';
    this.client = random_id('w');
    this.counters = { reconnects: 0, drops: 0, stalls: 0, gaps: 0, lost: 0, catch_ups: 0, polls: 0, poll_failures: 0, events: 0, repeats: 0 };
    this.last_fault = null;
    this.reported = { ...this.counters };
    this.telemetry_at = -Infinity;
  }

  start() {
    this.input({ type: 'start' });
  }

  stop() {
    this.input({ type: 'stop' });
  }

  wake() {
    this.input({ type: 'wake', quiet_ms: this.quiet_ms() });
  }

  /** Opens anew, for who logged in or out and may now see or do something else. */
  restart() {
    this.needs_state = true;
    if (this.machine.stream === 'live') this.input({ type: 'reopen' });
    else this.wake();
  }

  settings({ mode, poll_ms }) {
    if (poll_ms) this.input({ type: 'poll_every', ms: poll_ms });
    if (mode) this.input({ type: 'mode', mode });
  }

  /** What the tabs want in sum. More topics reopen at once, with their state; fewer are let go later. */
  want(topics, types) {
    const all = [...new Set(['global', ...topics])].sort();
    const names = [...new Set(types)].sort();
    const more = all.some((t) => !this.topics.includes(t)) || names.some((t) => !this.types.includes(t));
    clearTimeout(this.linger);
    if (more) {
      this.topics = all;
      this.types = names;
      this.needs_state = true;
      this.input({ type: 'reopen' });
    } else if (all.length < this.topics.length) {
      this.linger = setTimeout(() => {
        this.topics = all;
        this.types = names;
        this.input({ type: 'reopen' });
      }, LINGER_MS);
    }
  }

  /** What a tab that joins now is given. */
  picture() {
    const items = [];
    if (this.hello) items.push({ is: 'hello', payload: this.hello });
    if (this.clock) items.push({ is: 'now', now: new Date(this.clock.ms + performance.now() - this.clock.at).toISOString() });
    if (this.keys.size || this.machine.worked) items.push({ is: 'snapshot', cursor: this.cursor, state: [...this.keys.values()] });
    return items;
  }

  status() {
    const { status, stream, mode, denied, worked, failures, heartbeat_ms, polling } = this.machine;
    return {
      status, mode, denied, worked, failures, heartbeat_ms,
      path: stream === 'live' ? 'stream' : polling === 'off' ? 'none' : 'polling',
      transport: this.transport, cursor: this.cursor, topics: this.topics,
      counters: { ...this.counters }, last_fault: this.last_fault,
    };
  }

  // ---- the machine ----

  input(input) {
    const [state, effects] = machine.step(this.machine, input);
    this.machine = state;
    for (const [name, ...args] of effects) this[`do_${name}`](...args);
    const said = JSON.stringify([state.status, state.mode, state.denied, state.stream === 'live']);
    if (said !== this.status_sent) {
      this.status_sent = said;
      this.flush();
      this.tell.status(this.status());
    }
  }

  do_timer(name, ms) {
    this.do_clear(name);
    this.timers.set(name, setTimeout(() => {
      this.timers.delete(name);
      this.input({ type: name, quiet_ms: this.quiet_ms() });
    }, ms));
  }

  do_clear(name) {
    clearTimeout(this.timers.get(name));
    this.timers.delete(name);
  }

  do_count(name) {
    this.counters[name] += 1;
    if (name === 'stalls') this.fault('silence');
    if (name === 'reconnects') this.report();
  }

  do_close() {
    this.source?.close();
    this.source = null;
    this.frames = null;
  }

  do_abort() {
    for (const abort of this.aborts) abort.abort();
    this.aborts.clear();
  }

  do_open() {
    this.do_close();
    const source = new EventSource(address('api/events', {
      topics: this.topics.join(','), interval: INTERVAL, format: 'sse',
      last_event_id: this.cursor, state: this.cursor && this.needs_state ? 'true' : null,
    }));
    this.source = source;
    this.opened_with = { state: !this.cursor || this.needs_state };
    this.heard_at = performance.now();
    source.onerror = () => {
      if (this.source !== source) return;
      this.fault('stream');
      this.input({ type: 'stream_error' });
    };
    for (const type of [...CONTROL, ...Object.keys(STATE), ...RECORDS, ...this.types]) {
      source.addEventListener(type, (message) => {
        if (this.source === source) this.frame(type, message);
      });
    }
  }

  async do_catch_up(limit_ms) {
    try {
      for (let page = 0; ; page += 1) {
        const answer = await this.page(limit_ms);
        if (!answer || this.machine.stream !== 'catching') return;
        if (!answer.more) break;
        if (page === CATCH_UP_PAGES) {
          this.gap({ reason: 'behind', from: this.cursor, to: null, lost: null });
          this.cursor = null;
          break;
        }
      }
      this.input({ type: 'caught_up' });
    } catch (error) {
      this.fault(error.code || String(error.status));
      this.input({ type: 'catch_up_failed', status: error.status });
    }
  }

  async do_poll(limit_ms) {
    try {
      const answer = await this.page(limit_ms);
      if (answer) this.input({ type: 'poll_ok', more: answer.more });
    } catch (error) {
      if (error.code === 'cancelled') return;
      this.fault(error.code || String(error.status));
      this.input({ type: 'poll_failed', status: error.status });
    }
  }

  async do_check() {
    try {
      await read('api/events', { query: { format: 'json', since: 'latest', limit: 1 }, limit_ms: 3_000 });
    } catch (error) {
      if (error.status === 401 || error.status === 403) this.input({ type: 'stream_denied', status: error.status });
    }
  }

  // ---- what comes in ----

  /** One short poll from the cursor; null when it was overtaken by something else. */
  async page(limit_ms) {
    const abort = new AbortController();
    this.aborts.add(abort);
    const asked_state = !this.cursor || this.needs_state;
    const topics = this.topics;
    try {
      const { body, date_ms } = await read('api/events', {
        query: {
          format: 'json', topics: topics.join(','), since: this.cursor, limit: PAGE,
          state: this.cursor && this.needs_state ? 'true' : null,
        },
        limit_ms, signal: abort.signal,
      });
      if (abort.signal.aborted) return null;
      if (!Array.isArray(body?.events) || typeof body.cursor !== 'string') throw Object.assign(new Error('not a poll'), { code: 'garbage', status: 0 });
      if (date_ms !== null && !this.clock) this.now(new Date(date_ms + 500).toISOString());
      if (body.gap) this.gap(body.gap);
      for (const envelope of body.events) this.envelope(envelope);
      this.cursor = body.cursor;
      if (asked_state && topics === this.topics) this.needs_state = false;
      return body;
    } finally {
      this.aborts.delete(abort);
    }
  }

  frame(type, message) {
    this.heard_at = performance.now();
    let data;
    try {
      data = JSON.parse(message.data);
    } catch {
      this.fault('garbage');
      return;
    }
    this.envelope({ type, payload: {}, ...data }, message.lastEventId);
  }

  /** One envelope; `position` is the cursor it moves the reader to, when it came by the stream. */
  envelope(envelope, position) {
    const { type, payload } = envelope;
    switch (type) {
      case 'hello': return this.on_hello(payload);
      case 'heartbeat': this.now(payload.now); break;
      case 'snapshot': return this.on_snapshot(payload, position ?? envelope.id);
      case 'gap': return this.gap(payload);
      case 'bye': return this.input({ type: 'bye', reason: payload.reason, retry_ms: payload.retry_ms });
      default: this.event(envelope);
    }
    // Until the snapshot is whole the position is not yet ours to resume from.
    if (parse_id(position) && this.machine.stream !== 'loading') this.cursor = position;
  }

  on_hello(payload) {
    this.hello = payload;
    if (payload.now) this.now(payload.now);
    this.put({ is: 'hello', payload });
    this.input({ type: 'hello', heartbeat_s: payload.heartbeat_s, whole: payload.resumed === true && !this.opened_with.state });
  }

  on_snapshot(payload, position) {
    this.frames = [...(this.frames ?? []), ...(payload.state ?? [])];
    if (payload.last === false) return;
    const state = this.frames;
    this.frames = null;
    this.keys = new Map();
    for (const envelope of state) {
      const key = state_key(envelope);
      if (key !== null) this.keys.set(key, envelope);
    }
    // Records between the reader's position and the moment of the snapshot follow it.
    this.cursor = parse_id(position) ? position : payload.cursor;
    this.needs_state = false;
    // After another database, or a lost tail, ids start below what was seen.
    if (this.last_record && !is_after(payload.cursor, this.last_record)) this.last_record = payload.cursor;
    this.put({ is: 'snapshot', cursor: payload.cursor, state });
    this.input({ type: 'snapshot_end' });
  }

  event(envelope) {
    const key = state_key(envelope);
    const seen = envelope.type in STATE ? this.keys.get(key)?.id : this.last_record;
    if (!is_after(envelope.id, seen)) {
      this.counters.repeats += 1;
      return;
    }
    if (!(envelope.type in STATE)) this.last_record = envelope.id;
    if (key !== null) {
      if (envelope.type === 'alert' && envelope.payload?.state === 'closed') this.keys.delete(key);
      else this.keys.set(key, envelope);
    }
    this.counters.events += 1;
    this.put({ is: 'event', envelope });
  }

  gap(payload) {
    this.counters.gaps += 1;
    this.counters.lost += payload.lost ?? 0;
    this.put({ is: 'gap', payload });
  }

  now(text) {
    const ms = Date.parse(text ?? '');
    if (Number.isNaN(ms)) return;
    this.clock = { ms, at: performance.now() };
    this.put({ is: 'now', now: text });
  }

  quiet_ms() {
    return performance.now() - this.heard_at;
  }

  fault(what) {
    this.last_fault = { what, at: Date.now() };
  }

  // ---- what goes out ----

  put(item) {
    this.outbox.push(item);
    this.flushing ??= setTimeout(() => this.flush(), FLUSH_MS);
  }

  flush() {
    clearTimeout(this.flushing);
    this.flushing = undefined;
    if (!this.outbox.length) return;
    const items = this.outbox;
    this.outbox = [];
    this.tell.items(items);
  }

  /** Tells the daemon what happened since the last report: after a reconnect, and about every 30 s if anything did. */
  report() {
    const { path } = this.status();
    const since = Object.fromEntries(REPORTED.map((name) => [name, Math.min(MOST_REPORTED, this.counters[name] - this.reported[name])]));
    if (path === 'none' || performance.now() - this.telemetry_at < TELEMETRY_MS || REPORTED.every((name) => since[name] === 0)) return;
    this.reported = { ...this.counters };
    this.telemetry_at = performance.now();
    post('api/telemetry', { client: this.client, mode: path, transport: this.transport, ...since }).catch(() => {
      // A report that does not get through is a statistic lost, nothing else.
    });
  }
}
