// What the pages of signals, streams and detections decide: pure, without a browser.

import assert from 'node:assert/strict';
import test from 'node:test';
import * as list from '../../www/js/state/detection_list.js';
import { PACES, limit_of, parse_pace, period_ms } from '../../www/js/state/panel_clock.js';
import * as plan from '../../www/js/state/planogram.js';
import * as signal from '../../www/js/state/signal_view.js';
import * as panel from '../../www/js/state/stream_panel.js';

const T = Date.parse('2026-01-07T15:30:00.000Z');
const sample = (seq, more = {}) => ({ seq, t: new Date(T + seq * 100).toISOString(), value: seq, anomaly: false, ...more });

test('a pace that is not offered is the usual one; a pause makes what is shown older', () => {
  assert.equal(parse_pace('30', PACES, 'push'), 30);
  for (const text of [null, '', '3', 'off', '{}']) assert.equal(parse_pace(text, PACES, 'push'), 'push', String(text));
  assert.deepEqual(['push', 5, 'manual'].map(period_ms), [null, 5_000, null]);
  assert.deepEqual(['push', 30, 'manual'].map((pace) => limit_of(pace, 15)), [15, 45, 15]);
});

test('what is looked at moves by halves of a window and ends up following again', () => {
  const newest = T;
  let view = { ...signal.start(), window_s: 60, pad: 0 };
  assert.deepEqual(signal.range(view, newest), [T - 60_000, T]);
  assert.ok(signal.follows(view));
  view = signal.back(signal.back(view, newest), newest);
  assert.deepEqual(signal.range(view, newest), [T - 120_000, T - 60_000]);
  assert.deepEqual(signal.range(view, newest + 5_000), [T - 120_000, T - 60_000], 'it stays where it is');
  view = signal.forward(signal.forward(view, newest), newest);
  assert.ok(signal.follows(view));
  view = signal.recentre(view, newest);
  assert.deepEqual(signal.range(view, newest), [T - 30_000, T + 30_000]);
  assert.deepEqual(signal.range({ ...signal.follow(view), pad: 0.25 }, newest), [T - 45_000, T + 15_000], 'room ahead');
  assert.equal(signal.range(signal.start(), null), null);
});

test('a frozen view stays while samples come, and thaws', () => {
  const view = signal.freeze({ ...signal.start(), pad: 0 }, T);
  assert.deepEqual(signal.range(view, T + 9_000), [T - 60_000, T]);
  assert.ok(!signal.follows(view));
  assert.ok(signal.follows(signal.freeze(view, T + 9_000)));
});

test('samples are held once, in order, bounded; what is missing between is noticed', () => {
  let { samples, gap } = signal.merge([], [sample(1), sample(2)]);
  assert.equal(gap, false);
  ({ samples, gap } = signal.merge(samples, [sample(2, { value: 7 }), sample(3)]));
  assert.deepEqual([samples.map((s) => [s.seq, s.value]), gap], [[[1, 1], [2, 7], [3, 3]], false]);
  assert.equal(signal.merge(samples, [sample(9)]).gap, true);
  assert.deepEqual(signal.merge(samples, [sample(4), sample(5)], 3).samples.map((s) => s.seq), [3, 4, 5]);
  assert.deepEqual(signal.merge(samples, [{ seq: 4, t: 'x' }]).samples, samples);
  assert.deepEqual(signal.merge([], [sample(1, { value: null })]).samples[0].value, null);
  assert.deepEqual(signal.newest_rows(samples, 5).map((s) => s?.seq), [3, 2, 1]);
  assert.deepEqual(signal.newest_rows([], 5), [null]);
});

test('settings that the daemon would refuse are not sent', () => {
  for (const [name, text, expected] of [['interval_s', '2', null], ['interval_s', '1,5', null], ['interval_s', '0.5', 'range'], ['interval_s', '', 'range'], ['interval_s', 'x', 'range'], ['interval_s', '61', 'range'],
    ['batch_size', '1000', null], ['batch_size', '1.5', 'whole'], ['window', '1', 'range'], ['threshold', '4.5', null]]) assert.equal(signal.fault(name, text), expected, `${name} ${text}`);
});

test('a bar of limits has its zones in order and the value in its place, whichever limits there are', () => {
  const both = panel.bands({ warning: { low: 25, high: 90 }, alarm: { low: 15, high: 95 } });
  assert.deepEqual(both, { low_alarm: 15, low: 25, high: 90, high_alarm: 95 });
  assert.deepEqual(panel.bands({ high: 3 }), { low_alarm: null, low: null, high: 3, high_alarm: null });
  assert.equal(panel.bands({}), null);
  assert.equal(panel.bands(undefined), null);
  const tones = (limits, value) => panel.limit_bar(panel.bands(limits), value).zones.map((z) => z.tone);
  assert.deepEqual(tones({ warning: { low: 25, high: 90 }, alarm: { low: 15, high: 95 } }, 50), ['bad', 'warn', 'good', 'warn', 'bad']);
  assert.deepEqual(tones({ high: 3, high_alarm: 5 }, 1), ['good', 'warn', 'bad']);
  assert.deepEqual(tones({ low_alarm: 3 }, 1), ['bad', 'good']);
  for (const [limits, value] of [[{ high: 3 }, 99], [{ low: -5, high: 5 }, 0], [{ high: 0 }, null]]) {
    const { zones, at } = panel.limit_bar(panel.bands(limits), value);
    assert.equal(zones[0].from, 0);
    assert.ok(Math.abs(zones.at(-1).to - 1) < 1e-9);
    zones.slice(1).forEach((zone, i) => assert.equal(zone.from, zones[i].to));
    assert.ok(value === null ? at === null : at > 0 && at < 1);
  }
});

test('a value that is none is never a number', () => {
  const of = (payload) => panel.reading({ payload });
  assert.deepEqual(panel.reading(undefined), { kind: 'waiting', value: null });
  assert.deepEqual(of({ value: null, quality: 'bad' }), { kind: 'waiting', value: null });
  assert.deepEqual(of({ value: null, previous: 21.5, quality: 'bad' }), { kind: 'none', value: 21.5 });
  assert.deepEqual(of({ value: 0, quality: 'good' }), { kind: 'value', value: 0 });
  assert.deepEqual(of({ value: 3, quality: 'uncertain' }), { kind: 'last', value: 3 });
});

test('a panel that asks holds each reading once; history keeps every peak', () => {
  const entry = (timestamp, value) => ({ payload: { timestamp, value } });
  let points = panel.with_reading([], entry('a', 1));
  points = panel.with_reading(panel.with_reading(points, entry('a', 1)), entry('b', null));
  assert.deepEqual(points.map((p) => p.value), [1, null]);
  for (let i = 0; i < 200; i += 1) points = panel.with_reading(points, entry(`t${i}`, i));
  assert.equal(points.length, 60);
  assert.deepEqual(panel.history_columns([{ t: 1_000, n: 1, min: 5, max: 5, last: 5 }, { t: 2_000, n: 9, min: 1, max: 8, last: 3 }]), [[1, 2, 2], [5, 1, 8]]);
});

test('streams keep their places by name; those that are not live can be picked out', () => {
  const feed = (name, status) => ({ feed: { payload: { name, status } }, value: null, history: [] });
  const map = new Map([['z', feed('Alpha', 'live')], ['a', feed('beta', 'stale')], ['m', feed(undefined, 'offline')]]);
  assert.deepEqual(panel.matching(map, {}), ['z', 'a', 'm']);
  assert.deepEqual(panel.matching(map, { state: 'trouble' }), ['a', 'm']);
  assert.deepEqual(panel.matching(map, { text: ' ALP ' }), ['z']);
  assert.deepEqual(panel.matching(map, { text: 'nothing' }), []);
});

test('the filter of detections goes into the address and comes back; nonsense is left out', () => {
  const filter = { ...list.NO_FILTER, sku: 'S 1', since: 3_600, min_confidence: 0.6 };
  assert.equal(list.filter_text(filter), '?sku=S+1&since=3600&min_confidence=0.6');
  assert.deepEqual(list.parse_filter(new URLSearchParams(list.filter_text(filter).slice(1))), filter);
  assert.deepEqual(list.parse_filter(new URLSearchParams('since=5&min_confidence=7&from=x&other=1')), list.NO_FILTER);
  assert.equal(list.filter_text(list.NO_FILTER), '');
  assert.deepEqual(list.filter_query(filter, T), { sku: 'S 1', label: '', location: '', from: '2026-01-07T14:30:00.000Z', to: '', min_confidence: '0.6' });
  assert.equal(list.filter_query(filter, T, { threshold: false }).min_confidence, '');
  assert.ok(list.narrows(filter) && !list.narrows(list.NO_FILTER));
});

test('the histogram counts from the edge of a bar', () => {
  const counts = Array.from({ length: 20 }, (_, i) => i);
  assert.deepEqual(list.above(counts, 0), { all: 190, above: 190 });
  assert.deepEqual(list.above(counts, 0.6), { all: 190, above: 12 + 13 + 14 + 15 + 16 + 17 + 18 + 19 });
  assert.deepEqual(list.above(counts, 1), { all: 190, above: 0 });
  assert.deepEqual(list.bars([0, 4], 0.5).map((b) => [b.height, b.above]), [[0, false], [1, true]]);
  assert.deepEqual(list.bars([0, 0], 0).map((b) => b.height), [0, 0]);
});

test('a look is what was seen in one frame; boxes stay within the picture', () => {
  const items = [{ detection_id: 'a', frame: 'f', location: 'A1' }, { detection_id: 'b', frame: 'f', location: 'A1' }, { detection_id: 'c', frame: 'g', location: 'A1' }];
  assert.deepEqual([list.look_of(items, 'b').one.detection_id, list.look_of(items, 'b').others.map((d) => d.detection_id)], ['b', ['a']]);
  assert.equal(list.look_of(items, 'gone').one.detection_id, 'a');
  assert.equal(list.look_of([], 'a').one, null);
  assert.deepEqual(list.place({ x: 0.5, y: 0.5, w: 0.25, h: 0.5 }), { x: 80, y: 45, width: 40, height: 45 });
  assert.deepEqual(list.place({ x: -1, y: 0, w: 9, h: 9 }), { x: 0, y: 0, width: 160, height: 90 });
  for (const box of [null, {}, { x: 1, y: 1, w: NaN, h: 1 }]) assert.equal(list.place(box), null);
});

test('an image is linked only where a browser may go', () => {
  assert.equal(list.link('https://cam.local/1.jpg'), 'https://cam.local/1.jpg');
  for (const bad of ['javascript:alert(1)', 'data:text/html,x', 'file:///etc/passwd', 'x', undefined]) assert.equal(list.link(bad), null, String(bad));
});

test('a planogram is read from CSV: quotes, any order of columns, line ends of any kind', () => {
  const { rows, faults } = plan.parse_csv('\uFEFFSKU,location,expected,name\r\nS1,"A, 1",3,"Beans ""big"""\r\n\r\nS2,A2,4,\n');
  assert.deepEqual(faults, []);
  assert.deepEqual(plan.to_items(rows), [{ location: 'A, 1', sku: 'S1', expected: 3, tolerance: 0, name: 'Beans "big"' }, { location: 'A2', sku: 'S2', expected: 4, tolerance: 0 }]);
});

test('every fault of a CSV is told with its line', () => {
  const told = (text) => plan.parse_csv(text).faults.map((f) => `${f.line} ${f.field} ${f.kind}`);
  assert.deepEqual(told('location,sku,expected,tolerance\nA1,S1,3,0\nA1,S2,few,0\n,S3,1,0\nA1,S1,2,0\nA1,S4\n'),
    ['3 expected number', '4 location empty', '5 sku twice', '6  cells']);
  assert.deepEqual(told('a,b\n1,2'), ['1 location column', '1 sku column', '1 expected column']);
  assert.deepEqual(told(''), ['1 location column', '1 sku column', '1 expected column']);
  assert.deepEqual(told('location,sku,expected\nA1,"S1,3\n'), ['2  quote']);
  assert.deepEqual(told(`location,sku,expected\n${'x'.repeat(65)},S1,-1`), ['2 location long', '2 expected number']);
  assert.deepEqual(told('location,sku,expected\n"A\n1",S1,1\nA1,S2,x'), ['4 expected number'], 'a cell may have a line end');
  assert.deepEqual(plan.parse_csv(`location,sku,expected\n${Array.from({ length: 5_001 }, (_, i) => `A,S${i},1`).join('\n')}`).faults.map((f) => f.kind), ['many']);
});

test('a draft is what differs; what is lost by saving is counted', () => {
  const items = [{ location: 'A1', sku: 'S1', expected: 3, tolerance: 0, name: 'Beans' }, { location: 'A1', sku: 'S2', expected: 1 }];
  const rows = plan.to_rows(items);
  assert.equal(plan.differs(rows, items), false);
  assert.equal(plan.differs(plan.change(rows, 0, 'expected', '4'), items), true);
  assert.equal(plan.differs(plan.change(rows, 0, 'expected', ' 3'), items), false);
  assert.equal(plan.lost(plan.without(rows, 0), items), 1);
  assert.equal(plan.lost([...rows, plan.empty_row('A2')], items), 0);
  assert.deepEqual(plan.faults([...rows, plan.empty_row('A2')]).map((f) => [f.row, f.field, f.kind]), [[2, 'sku', 'empty']]);
});

test('discrepancies stand by place and weight; who could not look is told', () => {
  const d = (location, type) => ({ location, sku: 'S', type });
  assert.deepEqual(list.ordered([d('B', 'missing'), d('A', 'extra'), d('A', 'missing')]).map((x) => x.location + x.type), ['Amissing', 'Aextra', 'Bmissing']);
  const sources = new Map([['cam1', { payload: { kind: 'vision', status: 'error' } }], ['cam2', { payload: { kind: 'vision', status: 'ok' } }], ['gps', { payload: { kind: 'serial', status: 'error' } }]]);
  assert.deepEqual(list.failing(sources).map((s) => s.id), ['cam1']);
});
