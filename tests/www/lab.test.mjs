// The lab's pages as pure parts: rows without holes, what a chart is drawn over, a scan's form, orders of a queue, filters.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Store } from '../../www/js/core/store.js';
import { draft_of, effect, lists, newer, place, removable, waiting } from '../../www/js/state/lab_queue.js';
import { channel_rows, is_moving, setting_of, share_of } from '../../www/js/state/motion.js';
import { begin, share, told } from '../../www/js/state/replay.js';
import { LATEST, Rows, axes_of, columns_of, default_axes, rows_of, sweep, ys_of } from '../../www/js/state/rows.js';
import * as form from '../../www/js/state/scan_form.js';
import { filter_of, fresh, narrowed, overlaid, passes, query_of } from '../../www/js/state/scan_list.js';

const row = (index, data = { v: index }) => ({ index, t_rel: index / 10, timestamp: null, data, quality: {} });
const drawn = (rows, x, ys) => rows.chart(x, ys).points.columns().map((c) => [...c]);

// ---- rows ----

test('what can be set of a queue: as it stands, and as it is when nothing is chosen', () => {
  assert.deepEqual(draft_of({}), { name: '', on_failure: 'pause', loop: false, autostart: false });
  assert.deepEqual(draft_of({ name: 'Q', on_failure: 'continue', loop: true, autostart: true, status: 'idle' }), { name: 'Q', on_failure: 'continue', loop: true, autostart: true });
});

test('rows in order; known ones are not taken twice; a missing one shows', () => {
  const rows = new Rows(100);
  assert.equal(rows.take(row(0)), 'taken');
  assert.equal(rows.take(row(0)), 'known');
  assert.equal(rows.take(row(1)), 'taken');
  assert.equal(rows.take(row(4)), 'hole');
  assert.equal(rows.last, 1);
  for (const i of [2, 3, 4]) assert.equal(rows.take(row(i)), 'taken');
  assert.deepEqual(drawn(rows, 'index', ['v']), [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]);
});

test('a hole that can not be filled is a gap of the line', () => {
  const rows = new Rows(100);
  rows.take(row(0));
  rows.take(row(5), { anyway: true });
  assert.deepEqual(drawn(rows, 'index', ['v']), [[0, NaN, 5], [0, NaN, 5]]);
});

test('10,000 rows keep 1,000 in arrays that do not grow, and few whole ones', () => {
  const rows = new Rows();
  rows.take(row(0));
  const arrays = [...rows.points.arrays];
  for (let i = 1; i < 10_000; i += 1) rows.take(row(i));
  assert.equal(rows.points.length, 1_000);
  assert.ok(rows.points.arrays.every((a, i) => a === arrays[i] && a.length === 2_000));
  assert.equal(rows.latest.length, LATEST);
  const [x] = drawn(rows, 'index', ['v']);
  assert.deepEqual([x[0], x.at(-1)], [9_000, 9_999]);
});

test('a column that comes later is unknown before; text is no curve; what is not there is empty', () => {
  const rows = new Rows(10);
  rows.take(row(0, { a: 1 }));
  rows.take(row(1, { a: 2, b: 5, note: 'hot', on: true }));
  assert.deepEqual(drawn(rows, 'a', ['b', 'on', 'note', 'none']), [[1, 2], [NaN, 5], [NaN, 1], [NaN, NaN], [NaN, NaN]]);
  assert.equal(rows.chart('a', ['b']), rows.chart('a', ['b']), 'the same as long as nothing came');
});

test('a pause is a gap over time, not over a set-point; a set-point that goes back begins the next sweep', () => {
  const rows = new Rows(100);
  for (let i = 0; i < 20; i += 1) rows.take({ ...row(i, { set: i % 5, v: 1 }), t_rel: i + (i > 9 ? 60 : 0) });
  assert.ok(rows.chart('t_rel', ['v']).step < 5);
  assert.equal(rows.chart('set', ['v']).step, undefined);
  assert.equal(rows.chart('set', ['v']).back, 2);
  assert.deepEqual(sweep('index', [1, 2]), {});
});

test('rows of every form of the wire', () => {
  assert.deepEqual(rows_of({ sequence_index: 4, data: { a: 1 }, t_rel: 2, timestamp: 'T' }), [{ index: 4, t_rel: 2, timestamp: 'T', data: { a: 1 }, quality: {} }]);
  const batch = rows_of({ first_index: 7, data: { a: [1, null], b: [3, 4] }, t_rel: [0.1, 0.2], quality: { 8: { a: 'bad/nan' } } });
  assert.deepEqual(batch, [{ index: 7, t_rel: 0.1, timestamp: null, data: { a: 1, b: 3 }, quality: {} }, { index: 8, t_rel: 0.2, timestamp: null, data: { a: null, b: 4 }, quality: { a: 'bad/nan' } }]);
  assert.deepEqual(rows_of({ sequence_index: [2, 3], data: { a: [1, 2] }, t_rel: [0, 1], timestamp: ['T', 'U'] }).map((r) => [r.index, r.timestamp]), [[2, 'T'], [3, 'U']]);
  assert.deepEqual(rows_of({ sequence_index: [], data: { a: [] } }), []);
});

const COLUMNS = [{ name: 'stage.x', role: 'setpoint', axis: 0 }, { name: 'psu.voltage', role: 'setpoint', axis: 1 }, { name: 'dmm.voltage', role: 'measured', unit: 'V' }, { name: 'note', dtype: 'string' }, { name: 'trace', dtype: 'array' }];

test('a chart is drawn over the innermost axis, else over time; the choice holds as long as it can', () => {
  assert.deepEqual(default_axes(COLUMNS), { x: 'psu.voltage', ys: ['dmm.voltage'] });
  assert.deepEqual(default_axes([{ name: 'a', role: 'measured' }]), { x: 't_rel', ys: ['a'] });
  assert.deepEqual(ys_of(COLUMNS), ['stage.x', 'psu.voltage', 'dmm.voltage']);
  assert.deepEqual(axes_of(COLUMNS, { x: 'index', ys: ['stage.x', 'gone'] }), { x: 'index', ys: ['stage.x'] });
  assert.deepEqual(axes_of(COLUMNS, { x: 'gone', ys: [] }), { x: 'psu.voltage', ys: ['dmm.voltage'] });
  assert.deepEqual(columns_of([{ name: 'a' }], ['a', 'b']), [{ name: 'a' }, { name: 'b', role: 'measured' }]);
});

// ---- queue ----

const scan = (scan_id, status, more = {}) => ({ scan_id, status, queue_id: 'Q', revision: 1, ...more });
const entry = (payload) => ({ payload });

test('the order of a queue with what is known of its scans, then the ended ones', () => {
  const queue = { queue_id: 'Q', current_scan: 'S1', order: ['S2', 'S3', 'S4'] };
  const asked = [scan('S2', 'queued'), scan('S3', 'queued'), scan('S0', 'failed', { ended_at: '2026-01-01' }), scan('S9', 'completed', { ended_at: '2026-01-02' })];
  const store = new Map([['S1', entry(scan('S1', 'running'))], ['S3', entry(scan('S3', 'aborted', { revision: 2, ended_at: '2026-01-03' }))], ['X', entry({ scan_id: 'X', queue_id: 'other', status: 'running' })]]);
  const { order, ended } = lists(queue, asked, store);
  assert.deepEqual(order.map(({ id, scan: s }) => [id, s?.status]), [['S1', 'running'], ['S2', 'queued'], ['S4', undefined]]);
  assert.deepEqual(ended.map(({ id }) => id), ['S3', 'S9', 'S0']);
  assert.deepEqual(waiting(order), ['S2']);
});

test('where a scan goes; what does not wait goes nowhere', () => {
  const order = [{ id: 'a', scan: { status: 'running' } }, ...['b', 'c', 'd'].map((id) => ({ id, scan: { status: 'queued' } }))];
  assert.deepEqual([place(order, 'd', 'up'), place(order, 'b', 'down'), place(order, 'd', 'front')], [{ before: 'c' }, { after: 'c' }, { before: 'b' }]);
  assert.deepEqual([place(order, 'b', 'up'), place(order, 'b', 'front'), place(order, 'd', 'down'), place(order, 'a', 'down')], [null, null, null, null]);
});

test('an effect is a change: the state there is shows nothing', () => {
  assert.deepEqual(effect('scan', 'resume', 'running'), []);
  assert.deepEqual(effect('scan', 'resume', 'paused'), ['running']);
  assert.deepEqual(effect('queue', 'abort', 'paused'), ['idle']);
  assert.deepEqual(effect('queue', 'nothing', 'idle'), []);
});

test('of two states of a scan the newer; an end is never taken back', () => {
  assert.equal(newer(scan('a', 'running', { revision: 5 }), scan('a', 'paused', { revision: 3 })).status, 'running');
  assert.equal(newer(scan('a', 'running', { revision: 5 }), scan('a', 'completed', { revision: 3 })).status, 'completed');
  assert.equal(newer(undefined, null), null);
  assert.deepEqual([removable({ status: 'paused', current_scan: null }), removable({ status: 'paused', current_scan: 'S' }), removable({ status: 'running' })], [true, false, false]);
});

test('a queue that was removed is gone', () => {
  const store = new Store();
  store.take([{ is: 'event', envelope: { type: 'queue_status', id: '1-1', payload: { queue_id: 'Q' } } }]);
  assert.equal(store.slices.queues.size, 1);
  store.take([{ is: 'event', envelope: { type: 'queue_status', id: '1-2', payload: { queue_id: 'Q', removed: true } } }]);
  assert.equal(store.slices.queues.size, 0);
});

// ---- form ----

const INSTRUMENTS = new Map([
  ['psu', entry({ channels: { voltage: { value: 1, unit: 'V', settable: true, limits: { control: { low: 0, high: 6 } } }, current: { value: 0, unit: 'A' } } })],
  ['relay1', entry({ channels: { level: { text: 'off', settable: true, words: ['on', 'off'] } } })],
]);

test('a draft is described with only what is not a default, and read back', () => {
  const draft = { ...form.blank(), name: ' IV ', axes: [form.axis({ set: 'psu.voltage', start: '0', stop: '5,5', points: '51', settle_s: '0.2' })], measure: ['dmm.voltage'], repeat: '2', on_error: 'retry' };
  const description = form.describe(draft);
  assert.deepEqual(description, { name: 'IV', axes: [{ set: 'psu.voltage', start: 0, stop: 5.5, points: 51, settle_s: 0.2 }], measure: ['dmm.voltage'], repeat: 2, on_error: { retry: 3, then: 'pause' } });
  assert.deepEqual(form.describe(form.draft_of(description)), description);
  assert.equal(form.points_of(draft), 102);
  assert.equal(form.step_of(draft.axes[0]), 0.11);
  assert.equal(form.step_of(form.axis()), null);
});

test('without axes: a count; what the form has no field for is kept', () => {
  const description = { axes: [], measure: ['dmm.voltage'], count: 10, interval_s: 1, abort_if: [{ channel: 'psu.current', above: 0.1 }], on_error: 'abort' };
  const draft = form.draft_of(description);
  assert.equal(form.points_of(draft), 10);
  assert.deepEqual(form.describe(draft), { abort_if: description.abort_if, measure: ['dmm.voltage'], interval_s: 1, count: 10, on_error: 'abort' });
  assert.equal(form.points_of({ ...draft, count: 'x' }), null);
});

test('what the form can not show stays text', () => {
  for (const not of [{ steps: [] }, [{}], null, 7, { axes: [{ set: 'a', values: [1] }] }, { axes: 3 }, { after: { set: {} } }, { on_error: 'explode' }]) assert.equal(form.draft_of(not), null, JSON.stringify(not));
  assert.deepEqual(form.parse('{"a":1}'), { description: { a: 1 } });
  assert.ok(form.parse('{"a":').fault.reason);
});

test('channels to set and to measure; limits and numbers are judged where they are typed', () => {
  const channels = form.channels_of(INSTRUMENTS);
  assert.deepEqual(channels.map((c) => [c.name, c.settable, c.limits]), [['psu.current', false, null], ['psu.voltage', true, { low: 0, high: 6 }], ['relay1.level', true, null]]);
  const draft = { ...form.blank(), axes: [form.axis({ set: 'psu.voltage', start: '-1', stop: 'five', points: '3' })] };
  assert.deepEqual(form.faults_of(draft, channels), [{ field: 'axes[0].start', code: 'limits', low: 0, high: 6 }, { field: 'axes[0].stop', code: 'number' }]);
  assert.deepEqual(form.faults_of(form.blank(), channels), []);
  assert.equal(form.beyond({ low: 0, high: null }, 1e9), null);
});

test('faults are shown at their fields, the others by themselves', () => {
  const faults = [{ field: 'axes[0].stop', detail: 'a' }, { field: 'measure[1]', detail: 'b' }, { field: 'always[0].set', detail: 'c' }];
  assert.deepEqual(form.faults_at(faults, 'axes[0].stop').map((f) => f.detail), ['a']);
  assert.deepEqual(form.faults_at(faults, 'measure', true).map((f) => f.detail), ['b']);
  assert.deepEqual(form.faults_elsewhere(faults, form.blank()).map((f) => f.detail), ['c']);
});

// ---- list, playback, instruments ----

test('the list of scans: its address, live states where they stand, new ones counted', () => {
  const filter = filter_of(new URLSearchParams('queue_id=Q&status=running&text=iv'));
  assert.equal(query_of(filter), '?queue_id=Q&status=running&text=iv');
  assert.equal(filter_of(new URLSearchParams('status=nonsense')).status, '');
  assert.deepEqual([narrowed(filter), narrowed(filter_of(new URLSearchParams()))], [true, false]);
  const items = [scan('S1', 'running'), scan('S2', 'queued')];
  const store = new Map([['S1', entry(scan('S1', 'completed', { revision: 9 }))], ['S3', entry(scan('S3', 'running', { name: 'IV' }))], ['S4', entry(scan('S4', 'failed'))]]);
  assert.deepEqual(overlaid(items, store).map((s) => s.status), ['completed', 'queued']);
  assert.deepEqual(fresh(items, store, filter, new Set(['S1', 'S2'])).map((s) => s.scan_id), ['S3']);
  assert.equal(passes(scan('a', 'running', { message: 'Measuring' }), { queue_id: '', status: '', text: 'MEAS' }), true);
});

test('playback: rows of one measurement, share, the end', () => {
  let it = begin(5);
  it = told({ ...it, measurement: 'main' }, { type: 'playback', payload: { points_total: 4, start_time: 'T', rate: 5 } });
  assert.equal(it.stage, 'playing');
  it = told(it, { type: 'data_point', payload: { measurement: 'main', sequence_index: 0, data: { a: 1 } } });
  it = told(it, { type: 'data_point', payload: { measurement: 'other', sequence_index: 9, data: { a: 1 } } });
  it = told(it, { type: 'data_batch', payload: { measurement: 'main', first_index: 1, data: { a: [2, 3] } } });
  it = told(it, { type: 'scan_status', payload: { status: 'running' } });
  assert.deepEqual([it.last, share(it), it.status.status], [2, 0.75, 'running']);
  assert.equal(told(it, { type: 'bye', payload: { reason: 'finished' } }).stage, 'finished');
  assert.equal(share(begin(1)), null);
});

test('channels move until they are there; numbers beyond a limit are not sent', () => {
  const p = { status: 'moving', is_moving: true, position: { x: 1, y: 5 }, target: { x: 4, y: 5 }, channels: { x: { value: 1, target: 4, tolerance: 0.1, unit: 'mm', settable: true, limits: { control: { low: 0, high: 10 } } } } };
  assert.deepEqual(channel_rows(p).map((r) => [r.name, r.moving, r.settable]), [['x', true, true], ['y', false, false]]);
  assert.equal(is_moving(p), true);
  assert.equal(is_moving({ channels: { x: { moving: false } } }), false);
  const [x] = channel_rows(p);
  assert.deepEqual([setting_of('2,5', x), setting_of('11', x), setting_of('far', x), setting_of(' ', x)], [{ value: 2.5 }, { fault: { low: 0, high: 10 } }, { fault: 'number' }, {}]);
  assert.deepEqual(setting_of('on', { words: ['on', 'off'] }), { value: 'on' });
  assert.deepEqual([share_of(x.limits, 2.5), share_of(x.limits, 99), share_of(null, 1)], [0.25, 1, null]);
});
