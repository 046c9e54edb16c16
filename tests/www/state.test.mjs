// Reducers and what views read from them.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Store } from '../../www/js/core/store.js';
import { DaemonClock } from '../../www/js/core/time.js';
import { alarms } from '../../www/js/state/alarm.js';
import { arrange, with_history } from '../../www/js/state/alert_list.js';
import { calling, open_alerts, snoozed } from '../../www/js/state/alerts.js';
import { advance, begin, pending, CONFIRM_MS } from '../../www/js/state/commands.js';
import { judge } from '../../www/js/state/freshness.js';
import { instrument_counts, readings, shown_instruments } from '../../www/js/state/instruments.js';
import { shown_jobs } from '../../www/js/state/jobs.js';
import { queue_progress, top_queues } from '../../www/js/state/queues.js';
import { actions_of } from '../../www/js/state/recorders.js';
import { running_scans } from '../../www/js/state/scans.js';
import { HISTORY } from '../../www/js/state/streams.js';
import * as config from '../../www/js/state/config.js';
import { clock_of, memory_used, readers_of } from '../../www/js/state/health.js';
import { Changes } from '../../www/js/state/changes.js';
import * as log from '../../www/js/state/log.js';
import { configured, counters, feeds, silent_s, visible } from '../../www/js/state/source.js';
import { shown_sources, troubled_sources } from '../../www/js/state/sources.js';

const NOW = '2026-01-07T15:30:00.000Z';
let n = 0;
const event = (type, payload, more = {}) => ({ is: 'event', envelope: { type, id: `7-${n += 1}`, topic: 'x', timestamp: NOW, payload, ...more } });

function store() {
  let mono = 1_000;
  const clock = new DaemonClock({ mono: () => mono, wall: () => Date.parse(NOW) + mono });
  const it = new Store({ clock });
  it.take([{ is: 'hello', payload: { epoch: 7, version: '1' } }, { is: 'now', now: NOW }]);
  return { it, pass: (ms) => { mono += ms; } };
}
const after = (...items) => {
  const { it } = store();
  it.take(items);
  return it.slices;
};

test('a snapshot replaces every state it covers, also by nothing', () => {
  const { it } = store();
  it.take([event('job_status', { job_id: 'a', status: 'running' }), event('system_health', { uptime_s: 1 }), event('alert', { alert_id: 'x', state: 'active' })]);
  assert.equal(it.complete, false);
  it.take([{ is: 'snapshot', state: [{ type: 'job_status', id: '7-90', payload: { job_id: 'b', status: 'queued' } }] }]);
  assert.deepEqual([...it.slices.jobs.keys()], ['b']);
  assert.equal(it.slices.health.box, null);
  assert.equal(it.slices.alerts.size, 0);
  assert.equal(it.complete, true);
});

test('a snapshot keeps the points a sparkline has drawn', () => {
  const { it } = store();
  it.take([event('stream_value', { stream_id: 's', value: 1 }), event('stream_value', { stream_id: 's', value: null })]);
  it.take([{ is: 'snapshot', state: [{ type: 'stream_value', id: '7-900', payload: { stream_id: 's', value: 3 } }] }]);
  assert.deepEqual(it.slices.streams.get('s').history.map((p) => p.value), [1, null, 3]);
});

test('histories and ended things are bounded', () => {
  const values = Array.from({ length: 3 * HISTORY }, (_, i) => event('stream_value', { stream_id: 's', value: i }));
  const jobs = Array.from({ length: 100 }, (_, i) => event('job_status', { job_id: `j${i}`, status: 'completed' }));
  const scans = Array.from({ length: 900 }, (_, i) => event('scan_status', { scan_id: `s${i}`, status: i < 400 ? 'running' : 'completed' }));
  const detections = Array.from({ length: 50 }, (_, i) => event('detection', { detection_id: `d${i}` }));
  const slices = after(...values, ...jobs, ...scans, ...detections);
  assert.equal(slices.streams.get('s').history.length, HISTORY);
  assert.equal(slices.jobs.size, 20);
  assert.equal(running_scans(slices.scans).length, 400, 'none that runs is forgotten');
  assert.equal(slices.scans.size, 600);
  assert.equal(slices.detections.recent.length, 3);
  assert.equal(slices.detections.recent[0].payload.detection_id, 'd49');
});

test('reducers leave what they were given as it was', () => {
  const { it } = store();
  it.take([event('queue_status', { queue_id: 'q', status: 'idle' })]);
  const before = it.slices.queues;
  it.take([event('queue_status', { queue_id: 'q', status: 'running' })]);
  assert.equal(before.get('q').payload.status, 'idle');
});

test('open alerts: not acknowledged first, worse first, older first; closed ones go', () => {
  const alert = (alert_id, severity, state, raised_at = NOW) => event('alert', { alert_id, severity, state, raised_at });
  const { alerts } = after(alert('a', 'MINOR', 'active'), alert('b', 'MAJOR', 'acknowledged'), alert('c', 'MAJOR', 'active', '2026-01-07T15:00:00Z'),
    alert('d', 'MAJOR', 'active', '2026-01-07T14:00:00Z'), alert('e', 'MAJOR', 'active'), alert('e', 'MAJOR', 'closed'));
  assert.deepEqual(open_alerts(alerts).map((e) => e.payload.alert_id), ['d', 'c', 'a', 'b']);
  assert.deepEqual(calling(alerts), { count: 3, worst: 'MAJOR' });
});

test('what is shown first', () => {
  const slices = after(
    ...['completed', 'running', 'paused', 'idle'].map((status) => event('queue_status', { queue_id: status, status })),
    ...['idle', 'disconnected', 'error'].map((status) => event('instrument_status', { instrument_id: status, status })),
    ...['completed', 'queued', 'running', 'failed'].map((status) => event('job_status', { job_id: status, status })),
    ...['ok', 'stale', 'error', 'no_data'].map((status) => event('source_status', { source_id: status, status })),
  );
  assert.deepEqual(top_queues(slices.queues, 3).map((q) => q.id), ['running', 'paused', 'idle']);
  assert.deepEqual(shown_instruments(slices.instruments).map((i) => i.id), ['error', 'disconnected', 'idle']);
  assert.deepEqual(instrument_counts(slices.instruments), { connected: 1, error: 1, disconnected: 1 });
  assert.deepEqual(shown_jobs(slices.jobs, 9).map((j) => j.id), ['running', 'queued', 'failed', 'completed']);
  assert.deepEqual(troubled_sources(slices.sources).map((s) => s.id), ['error', 'stale']);
  assert.equal(shown_sources(slices.sources).length, 4);
});

test('progress and shares are unknown rather than 0', () => {
  assert.equal(queue_progress({ completed_scans: 0, total_scans: 0 }), null);
  assert.equal(queue_progress({ completed_scans: 1, total_scans: 4 }), 0.25);
  assert.equal(queue_progress({ completed_scans: 1, total_scans: 4, progress: 0.3 }), 0.3);
  assert.equal(memory_used({}), null);
  assert.equal(memory_used({ total: 100, available: 25 }), 0.75);
});

test('readings: channels, and positions that are no channel', () => {
  const list = readings({ channels: { x: { value: 1 } }, position: { x: 9, y: 2 }, target: { y: 3 } });
  assert.deepEqual(list.map((r) => [r.name, r.value, r.target]), [['x', 1, undefined], ['y', 2, 3]]);
});

test('a recorder in trouble offers nothing', () => {
  assert.deepEqual(actions_of('fault'), []);
  assert.deepEqual(actions_of('recording'), ['split', 'stop']);
  assert.deepEqual(actions_of('armed'), ['start']);
});

test('freshness: restored, lost, called stale by the daemon, old, or the present one', () => {
  const entry = (more = {}, payload = {}) => ({ born: 0, epoch: 7, payload, ...more });
  const at = { mono: 9_000, epoch: 7, connected: true, limit_s: 10 };
  for (const [expected, given, when] of [
    [null, entry(), at],
    ['old', entry(), { ...at, mono: 11_000 }],
    [null, entry(), { ...at, mono: 11_000, limit_s: 0 }],
    ['lost', entry(), { ...at, connected: false }],
    ['restored', entry({ epoch: 6 }), at],
    ['restored', entry({ quality: 'uncertain', quality_reason: 'initial' }), at],
    ['restored', entry({ epoch: 6 }), { ...at, connected: false }],
    ['daemon', entry({}, { quality: 'uncertain', quality_reason: 'stale' }), at],
    [null, entry(), { ...at, epoch: NaN }],
  ]) assert.equal(judge(given, when).why, expected, JSON.stringify([given, when]));
  assert.equal(judge(entry({ born: 5_000 }), at).age_s, 4);
});

test('ages start at the time of the source and are never in the future', () => {
  const { it, pass } = store();
  it.take([event('system_health', { timestamp: '2026-01-07T15:29:50.000Z' }), event('job_status', { job_id: 'a', timestamp: '2026-01-07T16:00:00.000Z' })]);
  pass(2_000);
  assert.equal(judge(it.slices.health.box, { mono: it.clock.mono() }).age_s, 12);
  assert.equal(judge(it.slices.jobs.get('a'), { mono: it.clock.mono() }).age_s, 2);
});

test('a loss counts after a second', () => {
  const { it, pass } = store();
  it.take_status({ status: 'live' });
  it.take_status({ status: 'reconnecting' });
  assert.ok(it.connected());
  pass(1_100);
  assert.ok(!it.connected());
  it.take_status({ status: 'offline' });
  assert.ok(!it.connected(), 'the loss began with the first word of it');
  it.take_status({ status: 'polling' });
  assert.ok(it.connected());
});

test('another version of the daemon is noticed', () => {
  const { it } = store();
  assert.ok(!it.outdated());
  it.take([{ is: 'hello', payload: { epoch: 8, version: '2' } }]);
  assert.ok(it.outdated());
});

test('the life of a command', () => {
  const start = begin({ id: 'c1', target: 'recorder/r', action: 'start', effect: ['recording'], at: 0 });
  const run = (...inputs) => inputs.reduce(advance, start);
  const accepted = { type: 'answered', state: 'accepted' };
  for (const [phase, ...inputs] of [
    ['sending'],
    ['waiting', accepted],
    ['confirmed', { type: 'answered', state: 'completed' }],
    ['confirmed', accepted, { type: 'state', target: 'recorder/r', status: 'recording' }],
    ['waiting', accepted, { type: 'state', target: 'recorder/r', status: 'armed' }],
    ['waiting', accepted, { type: 'state', target: 'recorder/other', status: 'recording' }],
    ['waiting', accepted, { type: 'result', command_id: 'c2', state: 'completed' }],
    ['confirmed', accepted, { type: 'result', command_id: 'c1', state: 'completed' }],
    ['confirmed', { type: 'result', command_id: 'c1', state: 'completed' }, accepted],
    ['refused', accepted, { type: 'result', command_id: 'c1', state: 'rejected', reason: 'no' }],
    ['refused', { type: 'refused', reason: 'no' }],
    ['unconfirmed', accepted, { type: 'result', command_id: 'c1', state: 'timed_out' }],
    ['waiting', accepted, { type: 'clock', at: CONFIRM_MS - 1 }],
    ['unconfirmed', accepted, { type: 'clock', at: CONFIRM_MS }],
    ['unconfirmed', { type: 'unsent' }, { type: 'clock', at: CONFIRM_MS }],
    ['confirmed', accepted, { type: 'clock', at: CONFIRM_MS }, { type: 'result', command_id: 'c1', state: 'completed' }],
    ['confirmed', { type: 'unsent' }, { type: 'clock', at: CONFIRM_MS }, { type: 'state', target: 'recorder/r', status: 'recording' }],
    ['refused', accepted, { type: 'clock', at: CONFIRM_MS }, { type: 'result', command_id: 'c1', state: 'failed', reason: 'no' }],
    ['unconfirmed', accepted, { type: 'clock', at: CONFIRM_MS }, { type: 'result', command_id: 'c1', state: 'timed_out' }],
    ['unconfirmed', accepted, { type: 'clock', at: CONFIRM_MS }, { type: 'result', command_id: 'c1', state: 'accepted' }],
    ['unconfirmed', accepted, { type: 'clock', at: CONFIRM_MS }, accepted],
  ]) assert.equal(run(...inputs).phase, phase, JSON.stringify(inputs));
  assert.equal(run({ type: 'refused', reason: 'no' }).reason, 'no');
  assert.equal(run({ type: 'unsent' }, { type: 'clock', at: CONFIRM_MS }).taken, false, 'a retry keeps the id');
  assert.equal(run(accepted, { type: 'clock', at: CONFIRM_MS }).taken, true, 'a retry needs a new id');
  assert.ok(pending(start) && !pending(run({ type: 'refused' })) && !pending(undefined));
});

// ---- alerts ----

const SOON = '2026-01-07T16:30:00.000Z';
const now_ms = Date.parse(NOW);
const alert_event = (alert_id, more = {}) => event('alert', { alert_id, occurrence: 1, severity: 'MAJOR', state: 'active', raised_at: NOW, ...more });
const alerts_of = (...items) => after(...items).alerts;

test('snoozed: until a time, or until the daemon starts again', () => {
  for (const [expected, until, at] of [[false, null, now_ms], [true, SOON, now_ms], [false, SOON, Date.parse(SOON) + 1], [true, 'restart', now_ms], [true, SOON, null], [true, 'who knows', now_ms]]) {
    assert.equal(snoozed({ snoozed_until: until }, at), expected, String([until, at]));
  }
  const map = alerts_of(alert_event('a', { snoozed_until: SOON }), alert_event('b', { severity: 'MINOR' }), alert_event('c', { state: 'acknowledged' }), alert_event('d', { state: 'cleared', severity: 'MINOR' }));
  assert.deepEqual(calling(map, now_ms), { count: 2, worst: 'MINOR' });
  assert.deepEqual(calling(new Map(), now_ms), { count: 0, worst: null });
  assert.deepEqual(open_alerts(map, now_ms).map((e) => e.payload.alert_id), ['b', 'd', 'a', 'c']);
});

test('the list stands still while a person is at it', () => {
  const { it } = store();
  it.take([alert_event('m', { severity: 'MINOR' }), alert_event('n', { severity: 'MINOR' })]);
  const ids = (list) => list.map((e) => `${e.payload.alert_id} ${e.payload.state}`);
  const first = arrange(null, it.slices.alerts, now_ms, true);
  assert.deepEqual(ids(first), ['m active', 'n active']);
  it.take([alert_event('z'), alert_event('m', { state: 'closed' })]);
  const held = arrange(first, it.slices.alerts, now_ms, true);
  assert.deepEqual(ids(held), ['m closed', 'n active', 'z active'], 'the worse one comes below, the closed one stays');
  assert.deepEqual(ids(arrange(held, it.slices.alerts, now_ms, true)), ids(held));
  assert.deepEqual(ids(arrange(held, it.slices.alerts, now_ms, false)), ['z active', 'n active']);
});

test('what sounds: new occurrences and what became worse, once; nothing that was there, is known or put off', () => {
  const { it } = store();
  let heard = null;
  const sounds = (...items) => {
    it.take(items);
    const step = alarms(heard, it.slices.alerts, now_ms);
    heard = step.heard;
    return step.fresh.map((p) => p.alert_id);
  };
  assert.deepEqual(sounds(alert_event('a')), [], 'there when the page opened');
  assert.deepEqual(sounds(alert_event('a')), []);
  assert.deepEqual(sounds(alert_event('b', { severity: 'MINOR' }), alert_event('c')), ['c', 'b'], 'worst first');
  assert.deepEqual(sounds(alert_event('b', { severity: 'MAJOR' })), ['b'], 'became worse');
  assert.deepEqual(sounds(alert_event('b', { severity: 'MINOR' })), []);
  assert.deepEqual(sounds(alert_event('b', { severity: 'MAJOR' })), [], 'as bad as it was');
  assert.deepEqual(sounds(alert_event('a', { state: 'acknowledged' })), []);
  assert.deepEqual(sounds(alert_event('a', { occurrence: 2 })), ['a'], 'a new occurrence');
  assert.deepEqual(sounds(alert_event('d', { snoozed_until: SOON })), []);
  assert.deepEqual(sounds(alert_event('d')), ['d'], 'the snooze is over');
  assert.deepEqual(sounds(alert_event('e', { severity: 'NO_ALARM' }), alert_event('f', { state: 'acknowledged' })), []);
  assert.deepEqual(sounds(alert_event('c', { state: 'closed' })), []);
  assert.ok(!heard.has('c'), 'only open ones are remembered');
});

test('history has one row an occurrence, the newest record of it', () => {
  const record = (alert_id, occurrence, state) => ({ alert_id, occurrence, state });
  const first = with_history([], [record('a', 2, 'closed'), record('a', 2, 'active'), record('a', 1, 'closed')]);
  assert.deepEqual(first.map((p) => [p.occurrence, p.state]), [[2, 'closed'], [1, 'closed']]);
  assert.deepEqual(with_history(first, [record('a', 1, 'active'), record('b', 1, 'closed')]).map((p) => `${p.alert_id}${p.occurrence}`), ['a2', 'a1', 'b1']);
  assert.deepEqual(with_history(first, [record('a', 2, 'gone')], { newer: true }).map((p) => p.state), ['gone', 'closed']);
});

// ---- log ----

const line = (n, more = {}) => ({ id: `7-${n}`, level: 'INFO', message: `line ${n}`, timestamp: NOW, source: 'gps', topic: 'log', ...more });
const live_line = (n, more) => log.line_of({ id: `7-${n}`, topic: 'log', timestamp: NOW, payload: line(n, more) });
const lines = (from, to) => Array.from({ length: to - from }, (_, i) => live_line(from + i));
const page = (from, to) => lines(from, to).reverse();
const span_of = (rows) => (rows.length ? `${rows[0].id}..${rows.at(-1).id} ${rows.length}` : 'none');

test('what has become another is marked for a moment, and not when it is first seen', () => {
  const changes = new Changes();
  assert.equal(changes.of('a', 'idle', 1_000), false);
  assert.equal(changes.of('a', 'idle', 1_100), false);
  assert.equal(changes.of('a', 'running', 1_200), true);
  assert.equal(changes.of('a', 'running', 2_900), true, 'asked twice, or drawn again: the same mark');
  assert.equal(changes.of('a', 'running', 3_100), false);
  assert.equal(changes.of('b', 'running', 3_100), false);
  for (let i = 0; i < 600; i += 1) changes.of(`many${i}`, 0);
  assert.equal(changes.seen.size, 500);
});

test('how many read the box: as it tells it, or not known', () => {
  assert.deepEqual([{ clients: { sse: 3, poll: 900 } }, { clients: {} }, {}, undefined].map(readers_of), [3, null, null, null]);
});

test('why there is no line: loading, an error, no match or none at all', () => {
  const nothing = { level: '', source: '', text: '' };
  for (const [status, filter, expected] of [['loading', nothing, 'loading'], ['error', { text: 'x' }, 'error'], ['denied', nothing, 'error'], ['ok', { text: 'x' }, 'filter'], ['ok', { source: 'gps' }, 'filter'],
    ['ok', { level: 'ERROR' }, 'filter'], ['ok', nothing, 'none'], ['ok', {}, 'none'], ['absent', nothing, 'none']]) assert.equal(log.why_empty(status, filter), expected, status);
});

test('the log is at most 500 rows, in order, each once', () => {
  let book = log.loaded(log.initial(), page(100, 300), '7-100');
  assert.equal(span_of(book.rows), '7-100..7-299 200');
  assert.equal(book.older, '7-100');
  book = log.came(book, [...lines(290, 310), live_line(305)]);
  assert.equal(span_of(book.rows), '7-100..7-309 210');
  book = log.came(book, lines(310, 2_000));
  assert.equal(span_of(book.rows), '7-1500..7-1999 500');
  assert.equal(book.older, '7-1500', 'what was cut can be asked for again');
});

test('paused: what comes waits, is counted, and is there again without a hole', () => {
  let book = log.pause(log.came(log.initial(), lines(1, 101)));
  book = log.came(book, lines(101, 111));
  assert.equal(span_of(book.rows), '7-1..7-100 100');
  assert.equal(book.newer, 10);
  assert.equal(span_of(log.follow(book).rows), '7-1..7-110 110');
  assert.equal(log.follow(book).newer, 0);
  book = log.came(book, lines(111, 5_000));
  assert.equal(book.newer, 4_899);
  assert.equal(book.held.length, log.MOST);
  const back = log.follow(book);
  assert.equal(span_of(back.rows), '7-4500..7-4999 500', 'the newest, and nothing from before the hole');
  assert.equal(back.older, '7-4500');
});

test('older pages come before; what they push out at the end is held', () => {
  let book = log.pause(log.loaded(log.initial(), page(1_000, 1_400), '7-1000'));
  book = log.before(book, page(800, 1_000), '7-800');
  assert.equal(span_of(book.rows), '7-800..7-1299 500');
  assert.equal(span_of(book.held), '7-1300..7-1399 100');
  assert.equal(book.newer, 100);
  book = log.came(book, lines(1_400, 1_405));
  assert.equal(span_of(log.follow(book).rows), '7-905..7-1404 500');
  const last = log.before(book, page(1, 800), null);
  assert.equal(last.older, null);
  assert.ok(last.dropped && last.held.length === log.MOST);
});

test('lines that came while a page was loading are kept', () => {
  const book = log.loaded(log.came(log.initial(), lines(50, 60)), page(1, 55), null);
  assert.equal(span_of(book.rows), '7-1..7-59 59');
  assert.equal(book.older, null);
  assert.equal(log.loaded(log.initial(), [], '7-3').older, '7-3', 'nothing found so far is not the beginning');
});

test('filters: the level is the least one, the text is found anywhere', () => {
  const at = live_line(1, { level: 'WARNING', message: 'Port <b>gone</b>' });
  for (const [expected, filter] of [[true, {}], [true, { level: 'WARNING' }], [true, { level: 'INFO' }], [false, { level: 'ERROR' }], [true, { text: 'PORT' }],
    [true, { text: '<b>' }], [true, { text: 'GPS' }], [false, { text: 'nmea' }], [true, { source: 'gps' }], [false, { source: 'deck' }]]) {
    assert.equal(log.passes(at, filter), expected, JSON.stringify(filter));
  }
  assert.equal(log.as_text([live_line(1, { message: 'a\nb' })]), `${NOW} INFO     gps: a\n    b\n`);
  assert.equal(log.line_of({ id: '7-1', timestamp: NOW, payload: { queue_id: 'q' } }).source, 'q');
});

// ---- sources, clock ----

test('a source is silent for what the daemon says and the time since', () => {
  assert.equal(silent_s({ stamp: '2026-01-07T15:30:10.000Z', payload: { last_seen: NOW } }, 3), 13);
  assert.equal(silent_s({ stamp: NOW, payload: { last_seen: '2026-01-07T15:30:10.000Z' } }, 3), 3, 'never in the future');
  assert.equal(silent_s({ stamp: NOW, payload: { last_seen: null } }, 3), null);
});

test('everything a source counts is a row; what it feeds and its last bad line stand apart', () => {
  const detail = { lines: 4, last_bad: { line: 'x' }, gps: { fix: 3 }, names: ['a', 'b'], recorder: 'deck', feeds: ['stream/x'] };
  assert.deepEqual(counters(detail), [{ name: 'lines', value: 4 }, { name: 'gps.fix', value: 3 }, { name: 'names', value: 'a, b' }]);
  assert.deepEqual(feeds(detail), ['stream/x', 'recorder/deck']);
  assert.deepEqual([counters(undefined), feeds(undefined)], [[], []]);
  const lists = [{ name: 'gpio', items: [{ id: 'tape', text: 'id = "tape"\nrecorder = "deck" # the old one\ntopic="app/x"' }] }];
  assert.deepEqual(configured(lists, 'tape'), { list: 'gpio', feeds: ['recorder/deck', 'app/x'] });
  assert.deepEqual([configured(lists, 'x'), configured(undefined, 'x')], [null, null]);
  assert.equal(visible('a\r\n\x00\x7f\t<b>'), 'a\\r\\n\\x00\\x7f\\t<b>');
});

test('the clock, also of a daemon that tells only its quality', () => {
  assert.equal(clock_of({}), null);
  assert.deepEqual(clock_of({ clock: 'synced' }), { quality: 'synced', source: null, offset_s: null, since: null, steps: [] });
  assert.equal(clock_of({ clock: { quality: 'manual', offset_s: 3 } }).offset_s, 3);
});

// ---- configuration ----

const KEEP = { key: 'store.keep', kind: 'size', value: '"2GB"', default: '"1GB"' };
const HOSTS = { key: 'http.hosts', kind: 'list', value: '["a", "b, c"]', default: '[]' };
const BENCH = { key: 'bench', kind: 'switch', value: 'false', default: 'false' };
const base = { revision: 'r1', text: 'a\n\n[[x]]\nid = 1\n', sections: [{ name: 'store', keys: [KEEP] }, { name: 'http', keys: [HOSTS, BENCH] }] };

test('values of the file are shown without quotes and sent as JSON of their type', () => {
  for (const [expected, kind, value] of [['2GB', 'size', '"2GB"'], ['a "b"', 'text', '"a \\"b\\""'], ['^T=', 'text', "'^T='"], ['5', 'number', '5'], ['', 'text', null], ['a\nb, c', 'list', '["a", "b, c",]'], ['', 'list', '[]']]) {
    assert.equal(config.typed(kind, value), expected, String(value));
  }
  for (const [expected, kind, text] of [[['a', 'b'], 'list', 'a\n\n b \n'], [[], 'list', ' '], ['3GB', 'size', ' 3GB '], [true, 'switch', 'true'], [false, 'switch', 'false'], [1500, 'number', '1_500'], ['x', 'number', 'x'], ['5', 'text', '5']]) {
    assert.deepEqual(config.sent(kind, text), expected, text);
  }
});

test('a draft is what differs; as it was is no change', () => {
  let draft = config.type(config.no_draft(), KEEP, '3GB');
  assert.equal(config.field(draft, KEEP), '3GB');
  assert.equal(config.field(draft, HOSTS), 'a\nb, c');
  assert.deepEqual(config.changed(draft, base.sections[0]), ['store.keep']);
  assert.deepEqual(config.changed(draft, base.sections[1]), []);
  draft = config.type(draft, KEEP, '2GB');
  assert.ok(config.is_empty(draft));
  draft = config.type(config.type(draft, KEEP, null), BENCH, null);
  assert.deepEqual(draft.values, { 'store.keep': null }, 'the default of what has its default is no change');
  assert.equal(config.field(draft, KEEP), '1GB');
  assert.deepEqual(config.order(base, config.type(draft, BENCH, 'true'), ['store.keep', 'bench']), { set: { bench: true }, unset: ['store.keep'], if_revision: 'r1' });
  assert.ok(config.is_empty(config.reset(draft, ['store.keep'])));
});

test('what was saved leaves the draft; what was typed meanwhile stays', () => {
  const typed = config.type_block(config.type(config.type(config.no_draft(), KEEP, '3GB'), BENCH, 'true'), 'x/1', 'a');
  const sent = config.part(typed, ['store.keep', 'bench']);
  const meanwhile = config.type(typed, KEEP, '33GB');
  assert.deepEqual(config.without(meanwhile, sent), { values: { 'store.keep': '33GB' }, blocks: { 'x/1': 'a' }, raw: null });
  assert.deepEqual(config.without(typed, { blocks: { 'x/1': 'a' } }).blocks, {});
  assert.equal(config.without({ ...typed, raw: 'b' }, { raw: 'a' }).raw, 'b');
  assert.deepEqual(config.type_block(typed, 'x/1', undefined).blocks, {});
});

test('what is plainly wrong is said at once', () => {
  for (const [expected, kind, text] of [[null, 'size', '500MB'], ['size', 'size', '12'], ['duration', 'duration', 'soon'], [null, 'duration', '1h 30m'], ['number', 'number', 'x'], [null, 'number', '-1.5'], [null, 'text', '!'], [null, 'size', '']]) {
    assert.equal(config.fault({ kind }, text), expected, text);
  }
  assert.equal(config.fault({ kind: 'duration', type: 'duration, 1m to 1d, or never' }, 'never'), null);
});

test('a block of a list is replaced where it stands, added at the end, taken out', () => {
  const file = 'a\n\n[[x]] # one\nid = 1\n\n[[x]]\nid = 2\n';
  assert.deepEqual(config.with_block(file, 'x', 'id = 1', 'id = 5\n'), { text: file.replace('id = 1', 'id = 5'), line: 4 });
  assert.deepEqual(config.with_block(file, 'x', 'id = 1', null), { text: 'a\n\n[[x]]\nid = 2\n', line: 3 });
  assert.deepEqual(config.with_block(file, 'x', null, 'id = 3\n'), { text: `${file}\n[[x]]\nid = 3\n`, line: 10 });
  assert.deepEqual(config.with_block('', 'x', null, 'b'), { text: '[[x]]\nb\n', line: 2 });
  assert.equal(config.with_block(file, 'x', 'id = 9', ''), null);
  assert.equal(config.with_block(file, 'y', 'id = 1', null), null, 'below another head');
  assert.equal(config.with_block('id = 1\nid = 1', 'x', 'id = 1', ''), null, 'twice is not known which');
});

test('changed elsewhere: every key that differs there or here, and where the texts part', () => {
  const fresh = { ...base, revision: 'r2', sections: [{ name: 'store', keys: [{ ...KEEP, value: '"4GB"' }] }, base.sections[1]] };
  assert.deepEqual(config.compare(base, fresh, config.type(config.no_draft(), BENCH, 'true')), [
    { key: 'store.keep', was: '2GB', theirs: '4GB', mine: undefined }, { key: 'bench', was: 'false', theirs: 'false', mine: 'true' }]);
  assert.deepEqual(config.difference('a\nb\nc\n', 'a\nx\ny\nc\n'), { line: 2, ours: ['b'], theirs: ['x', 'y'] });
  assert.equal(config.difference('a', 'a'), null);
  assert.deepEqual(config.line_range('ab\ncde\n', 2), [3, 6]);
  assert.deepEqual(config.line_range('ab', 99), [0, 2]);
});
