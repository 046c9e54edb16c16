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
import { memory_used } from '../../www/js/state/health.js';
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
    ['unconfirmed', accepted, { type: 'clock', at: CONFIRM_MS }, { type: 'result', command_id: 'c1', state: 'completed' }],
  ]) assert.equal(run(...inputs).phase, phase, JSON.stringify(inputs));
  assert.equal(run({ type: 'refused', reason: 'no' }).reason, 'no');
  assert.equal(run({ type: 'unsent' }, { type: 'clock', at: CONFIRM_MS }).taken, false, 'a retry keeps the id');
  assert.equal(run(accepted, { type: 'clock', at: CONFIRM_MS }).taken, true, 'a retry needs a new id');
  assert.ok(pending(start) && !pending(run({ type: 'refused' })) && !pending(undefined));
});
