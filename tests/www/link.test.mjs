// What the link hands on: nothing twice, nothing old, snapshots whole, positions that can be resumed from.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Link } from '../../www/js/core/link.js';

class FakeSource {
  static all = [];
  constructor(url) {
    this.query = new URL(url).searchParams;
    this.listeners = {};
    this.closed = false;
    FakeSource.all.push(this);
  }
  addEventListener(type, handler) { this.listeners[type] = handler; }
  close() { this.closed = true; }
  say(type, payload, { id, topic = 'app/x', at = id } = {}) {
    this.listeners[type]({ data: JSON.stringify({ type, id, topic, payload }), lastEventId: at ?? '' });
  }
}
globalThis.EventSource = FakeSource;

function connected(t, { polls = [] } = {}) {
  FakeSource.all = [];
  const asked = [];
  globalThis.fetch = async (url) => {
    asked.push(new URL(url).searchParams);
    const answer = polls.shift();
    if (!answer) throw new TypeError('refused');
    return { ok: true, status: 200, headers: new Headers(), text: async () => JSON.stringify(answer) };
  };
  const items = [];
  const link = new Link({ transport: 'tab', tell: { items: (list) => items.push(...list), status: () => {} } });
  t.after(() => link.stop());
  link.want(['stream/*'], ['note']);
  link.start();
  const taken = () => {
    link.flush();
    return items.splice(0).map((i) => (i.is === 'event' ? i.envelope.id : i.is));
  };
  return { link, taken, asked, source: () => FakeSource.all.at(-1) };
}
const hello = (resumed = false) => ({ epoch: 7, heartbeat_s: 5, now: '2026-01-07T15:30:00.000Z', resumed });
const job = (id, n) => ({ job_id: id, kind: 'encode', status: 'running', progress: n });

function live(link) {
  link.source().say('hello', hello(), { id: '7-10' });
  link.source().say('snapshot', { cursor: '7-10', state: [{ type: 'job_status', id: '7-4', payload: job('a', 0.1) }], last: true }, { id: '7-10' });
}

test('a snapshot in several frames is handed on whole, and only then may be resumed from', (t) => {
  const it = connected(t);
  it.source().say('hello', hello(), { id: '7-10' });
  it.source().say('snapshot', { cursor: '7-10', state: [{ type: 'job_status', id: '7-4', payload: job('a', 0) }], last: false }, { id: '7-10' });
  assert.deepEqual(it.taken(), ['now', 'hello']);
  assert.equal(it.link.cursor, null);
  assert.equal(it.link.machine.status, 'connecting');
  it.source().say('snapshot', { cursor: '7-10', state: [{ type: 'job_status', id: '7-5', payload: job('b', 0) }], last: true }, { id: '7-10' });
  assert.deepEqual(it.taken(), ['snapshot']);
  assert.equal(it.link.cursor, '7-10');
  assert.equal(it.link.keys.size, 2);
  assert.equal(it.link.machine.status, 'live');
});

test('the query asks for the topics, a calm rate and no cursor at first', (t) => {
  const { query } = connected(t).source();
  assert.deepEqual(Object.fromEntries(query), { topics: 'global,stream/*', interval: '250ms', format: 'sse' });
});

test('state that is not newer for its key, and records seen before, are left out', (t) => {
  const it = connected(t);
  live(it);
  it.taken();
  it.source().say('job_status', job('a', 0.2), { id: '7-4' });
  it.source().say('job_status', job('a', 0.2), { id: '7-11' });
  it.source().say('job_status', job('b', 0.2), { id: '7-9', at: '7-12' });
  it.source().say('note', {}, { id: '7-13' });
  it.source().say('note', {}, { id: '7-13' });
  it.source().say('note', {}, { id: '7-12' });
  assert.deepEqual(it.taken(), ['7-11', '7-9', '7-13']);
  assert.equal(it.link.counters.repeats, 3);
});

test('a delayed state frame moves the position by its SSE id, not by its own', (t) => {
  const it = connected(t);
  live(it);
  it.source().say('job_status', job('b', 0.2), { id: '7-9', at: '7-12' });
  assert.equal(it.link.cursor, '7-12');
});

test('numbers of an epoch are compared as numbers, and a later epoch is later', (t) => {
  const it = connected(t);
  live(it);
  it.taken();
  it.source().say('note', {}, { id: '7-99' });
  it.source().say('note', {}, { id: '7-100' });
  it.source().say('note', {}, { id: '8-20' });
  it.source().say('note', {}, { id: '7-101' });
  assert.deepEqual(it.taken(), ['7-99', '7-100', '8-20']);
});

test('after a loss it catches up by polls, page by page, then reopens from there', async (t) => {
  const it = connected(t, { polls: [
    { events: [{ type: 'note', id: '7-11', payload: {} }], cursor: '7-11', more: true, gap: null },
    { events: [{ type: 'note', id: '7-12', payload: {} }], cursor: '7-13', more: false, gap: null },
  ] });
  live(it);
  it.taken();
  it.link.input({ type: 'stream_error' });
  assert.ok(FakeSource.all[0].closed);
  it.link.input({ type: 'retry' });
  while (FakeSource.all.length < 2) await new Promise(setImmediate);
  assert.deepEqual(it.asked.map((q) => q.get('since')), ['7-10', '7-11']);
  assert.equal(it.source().query.get('last_event_id'), '7-13');
  assert.deepEqual(it.taken(), ['7-11', '7-12']);
  it.source().say('hello', hello(true), { id: '7-13' });
  assert.equal(it.link.machine.status, 'live');
});

test('a gap is told; the snapshot that follows makes it live; records after the gap are taken', (t) => {
  const it = connected(t);
  live(it);
  it.source().say('note', {}, { id: '7-20' });
  it.taken();
  it.link.input({ type: 'reopen' });
  assert.equal(it.source().query.get('last_event_id'), '7-20');
  it.source().say('hello', { ...hello(), epoch: 8 }, {});
  it.source().say('gap', { reason: 'lost_tail', from: '7-15', to: '7-20', lost: 5 }, { id: '7-15' });
  it.source().say('snapshot', { cursor: '8-16', state: [], last: true }, { id: '7-15' });
  assert.equal(it.link.cursor, '7-15');
  it.source().say('note', {}, { id: '8-16' });
  assert.deepEqual(it.taken(), ['now', 'hello', 'gap', 'snapshot', '8-16']);
  assert.equal(it.link.counters.lost, 5);
});

test('the ids of another database start anew', (t) => {
  const it = connected(t);
  live(it);
  it.source().say('note', {}, { id: '7-20' });
  it.taken();
  it.link.input({ type: 'reopen' });
  it.source().say('hello', { ...hello(), epoch: 3 }, {});
  it.source().say('gap', { reason: 'unknown_id', from: '7-20', to: '3-2', lost: null }, { id: '3-2' });
  it.source().say('snapshot', { cursor: '3-2', state: [], last: true }, { id: '3-2' });
  it.source().say('note', {}, { id: '3-3' });
  assert.deepEqual(it.taken().slice(-2), ['snapshot', '3-3']);
});

test('more topics reopen with their state; a tab that joins later gets the whole picture', (t) => {
  const it = connected(t);
  live(it);
  it.link.want(['stream/*', 'scan/S1'], ['note']);
  assert.equal(it.source().query.get('topics'), 'global,scan/S1,stream/*');
  assert.equal(it.source().query.get('state'), 'true');
  assert.equal(it.link.machine.status, 'live');
  assert.deepEqual(it.link.picture().map((i) => i.is), ['hello', 'now', 'snapshot']);
});

test('a closed alert leaves the picture', (t) => {
  const it = connected(t);
  live(it);
  it.source().say('alert', { alert_id: 'x', state: 'active' }, { id: '7-11' });
  assert.ok(it.link.keys.has('alert/x'));
  it.source().say('alert', { alert_id: 'x', state: 'closed' }, { id: '7-12' });
  assert.ok(!it.link.keys.has('alert/x'));
});

test('garbage on the stream is noted and harms nothing', (t) => {
  const it = connected(t);
  live(it);
  it.source().listeners.note({ data: '{"type":', lastEventId: '7-11' });
  it.source().listeners.snapshot({ data: '{"payload":{}}', lastEventId: 'nonsense' });
  assert.equal(it.link.last_fault.what, 'garbage');
  assert.equal(it.link.machine.status, 'live');
});
