// A scan over two axes as cells: nothing is made up, the newest counts, bounded.

import assert from 'node:assert/strict';
import test from 'node:test';
import { MapData } from '../../www/js/core/map_data.js';
import { CELLS, MapPoints, axis_values, cell_at, map_axes, map_of, map_values, moved, picture, ramp } from '../../www/js/state/heatmap.js';
import { Rows } from '../../www/js/state/rows.js';

const TWO = [{ name: 'stage.y', unit: 'mm', role: 'setpoint', axis: 0 }, { name: 'stage.x', unit: 'mm', role: 'setpoint', axis: 1 }, { name: 'pd', unit: 'V', role: 'measured' }, { name: 'note', dtype: 'string', role: 'measured' }];
const map = (rows, most) => map_of([0, 1, 2].map((k) => Float64Array.from(rows, (row) => row[k] ?? NaN)), most);
const grid = (it) => it.ys.map((_, row) => [...it.values.slice(row * it.xs.length, (row + 1) * it.xs.length)]);
const at = (cells) => cells.map((c) => c.from);
/** Rows of `wide` x `high`, every second line backwards when `snake`. */
const scan = (wide, high, value = (x, y) => 10 * y + x, snake = false) => Array.from({ length: wide * high }, (_, i) => {
  const y = Math.floor(i / wide);
  const x = snake && y % 2 ? wide - 1 - (i % wide) : i % wide;
  return [x, y, value(x, y)];
});

test('two axes make a map, the inner one across; one, three or none do not', () => {
  assert.deepEqual(map_axes(TWO), { x: 'stage.x', y: 'stage.y' });
  assert.equal(map_axes(TWO.slice(1)), null);
  assert.equal(map_axes([]), null);
  assert.equal(map_axes([...TWO, { name: 'T', axis: 2 }]), null);
  assert.equal(map_axes([TWO[0], { ...TWO[1], dtype: 'string' }]), null, 'words span nothing');
  assert.deepEqual(map_axes([{ name: 'x.read', role: 'measured', axis: 1 }, ...TWO]), { x: 'stage.x', y: 'stage.y' }, 'the set-point before what was read back');
  assert.deepEqual(map_values([...TWO, { name: 'gate', role: 'setpoint' }, { name: 'lamp', dtype: 'boolean' }], map_axes(TWO)), ['pd', 'lamp', 'gate']);
});

test('cells, rising both ways, the same from a snake', () => {
  const straight = map(scan(3, 2));
  assert.deepEqual([grid(straight), at(straight.xs), at(straight.ys)], [[[0, 1, 2], [10, 11, 12]], [0, 1, 2], [0, 1]]);
  assert.deepEqual([straight.values[straight.least], straight.values[straight.most], straight.filled, straight.points, straight.binned], [0, 12, 6, 6, false]);
  assert.deepEqual(grid(map(scan(3, 2, undefined, true))), grid(straight));
  assert.deepEqual(grid(map(scan(3, 2).reverse())), grid(straight));
});

test('what was not measured is empty: points to come, null, NaN; rows without a place are left out', () => {
  assert.deepEqual(grid(map(scan(3, 2).slice(0, 4))), [[0, 1, 2], [10, NaN, NaN]]);
  assert.deepEqual(grid(map([[0, 0, 1], [1, 0, null], [0, 1, NaN], [1, 1, 4], [NaN, 0, 9], [0, NaN, 9]])), [[1, NaN], [NaN, 4]]);
  const none = map([[0, 0, NaN]]);
  assert.deepEqual([none.filled, none.least, none.most], [0, null, null]);
  assert.equal(map([]), null);
  assert.equal(map([[NaN, 1, 2]]), null);
});

test('a line or column that is missing in an even row has its empty cells; an uneven row has none made up', () => {
  assert.deepEqual([...axis_values([0, 1, 4, 2])], [0, 1, 2, 3, 4]);
  assert.deepEqual(grid(map([[0, 0, 1], [1, 0, 2], [3, 0, 4]])), [[1, 2, NaN, 4]]);
  assert.deepEqual([...axis_values([1, 10, 100, 1_000])], [1, 10, 100, 1_000]);
  assert.deepEqual([...axis_values([0, 0.1, 0.25])], [0, 0.1, 0.25]);
  assert.deepEqual([...axis_values([0, 1, 1e6])], [0, 1, 1e6], 'no million cells for one far away');
});

test('the same set-point computed another way is the same', () => {
  assert.deepEqual([...axis_values([0.1 + 0.2, 0.3, 0, 0.1, 0.2])].map((v) => v.toFixed(6)), ['0.000000', '0.100000', '0.200000', '0.300000']);
  assert.deepEqual(grid(map([[0, 0, 1], [0.3, 0, 2], [0.1 + 0.2, 0, 3]])), [[1, 3]]);
});

test('another pass: the newest counts, also when it has no value', () => {
  const rows = [...scan(2, 2), ...scan(2, 2, (x, y) => 100 + 10 * y + x)];
  assert.deepEqual(grid(map(rows)), [[100, 101], [110, 111]]);
  assert.deepEqual(grid(map(rows.slice(0, 6))), [[100, 101], [10, 11]]);
  assert.deepEqual(grid(map([...scan(2, 1), [1, 0, null]])), [[0, NaN]]);
});

test('more than 400 along an axis: means, said so, every point in one; repeats first, then means', () => {
  const it = map(scan(1_000, 3, (x) => x));
  assert.deepEqual([it.xs.length, it.ys.length, it.binned, it.raw, it.filled], [CELLS, 3, true, [1_000, 3], 1_200]);
  assert.equal(it.counts.reduce((a, b) => a + b), 3_000);
  for (const [i, { from, to }] of it.xs.entries()) {
    assert.ok(from <= to);
    assert.equal(it.values[i], (from + to) / 2, 'the mean of the set-points it says it has');
    assert.equal(it.counts[i], to - from + 1);
  }
  assert.deepEqual(grid(map([[0, 0, 1], [1, 0, 3], [2, 0, 5], [3, 0, null], [0, 0, 7]], 2)), [[5, 5]]);
});

test('400 x 400 with another pass is quick enough to be drawn', () => {
  const rows = [...scan(400, 400, undefined, true), ...scan(400, 100)];
  const columns = [0, 1, 2].map((k) => Float64Array.from(rows, (row) => row[k]));
  const from = performance.now();
  const it = map_of(columns);
  assert.deepEqual([it.filled, it.binned], [160_000, false]);
  assert.ok(performance.now() - from < 2_000);
});

test('points are bounded: the oldest go, and are counted', () => {
  const points = new MapPoints(16);
  for (let i = 0; i < 100; i += 1) points.push(i, null, true);
  const [x, y, v] = points.columns();
  assert.ok(points.length <= 16 && points.length >= 14);
  assert.equal(x.at(-1), 99);
  assert.equal(x[0], 100 - points.length);
  assert.ok(Number.isNaN(y[0]) && v[0] === 1);
  assert.equal(points.lost + points.length, 100);
  const before = points.version;
  points.clear();
  assert.ok(points.length === 0 && points.version > before);
});

test('cells by set-point and by key', () => {
  const it = map(scan(3, 2));
  assert.deepEqual(cell_at(it, 1, 1), { column: 1, row: 1 });
  assert.deepEqual(cell_at(it, -5, 9), { column: 0, row: 1 });
  assert.deepEqual(cell_at(map(scan(8, 1), 4), 3, 0), { column: 1, row: 0 });
  const from = { column: 1, row: 0 };
  assert.deepEqual(['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', 'Home', 'End', 'PageUp'].map((key) => Object.values(moved(from, key, it))), [[0, 0], [2, 0], [1, 1], [1, 0], [0, 0], [2, 0], [1, 1]]);
  assert.equal(moved(from, 'x', it), null);
});

test('colours: lightness rises evenly, also in grey; a cell without a value has none', () => {
  const colours = ramp();
  assert.equal(colours.length, 256);
  const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  // The inverse of what made them, as Oklab has it.
  const lightness = ([r, g, b]) => {
    const [lr, lg, lb] = [r, g, b].map(linear);
    const l = Math.cbrt(0.4122214708 * lr + 0.5363325363 * lg + 0.0514459929 * lb);
    const m = Math.cbrt(0.2119034982 * lr + 0.6806995451 * lg + 0.1073969566 * lb);
    const s = Math.cbrt(0.0883024619 * lr + 0.2817188376 * lg + 0.6299787005 * lb);
    return 0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s;
  };
  const found = colours.map(lightness);
  for (const [i, light] of found.entries()) assert.ok(Math.abs(light - (0.3 + (0.6 * i) / 255)) < 0.006, `${i}: ${light}`);
  const luminance = colours.map(([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b));
  assert.ok(luminance.every((l, i) => i < 8 || l > luminance[i - 8]), 'rising in grey');
  const shown = picture(map([[0, 0, 1], [1, 0, null], [0, 1, 3], [1, 1, 2]]), colours);
  assert.deepEqual([3, 7, 11, 15].map((i) => shown[i]), [255, 255, 255, 0], 'the greatest y on top');
  assert.deepEqual([[...shown.slice(0, 3)], [...shown.slice(8, 11)]], [colours[255], colours[0]]);
});

// ---- where the points come from ----

const settle = () => new Promise((ok) => setTimeout(ok, 5));

/** A scan of 100 points a line with `it.stored` rows; the page keeps the newest 50. */
function source(t, stored) {
  const it = { stored, ms: 0, asked: [], fail: false, rows: new Rows(50) };
  const row = (i) => ({ index: i, t_rel: i, data: { x: i % 100, y: Math.floor(i / 100), v: i }, quality: {} });
  t.mock.method(performance, 'now', () => it.ms);
  t.mock.method(globalThis, 'fetch', async (href) => {
    const { searchParams } = new URL(href);
    const from = Number(searchParams.get('from'));
    it.asked.push(from);
    if (it.fail) return new Response('{"detail":"the store is away"}', { status: 503 });
    const index = Array.from({ length: Math.max(0, Math.min(8_192, it.stored - from)) }, (_, k) => from + k);
    const data = ['x', 'y', 'v'].map((name) => index.map((i) => row(i).data[name]));
    // A pause, as a chart has it.
    if (index.length) data.forEach((column, k) => column.splice(0, 0, k ? null : 0));
    return new Response(JSON.stringify({ data, index, last_index: it.stored - 1 }));
  });
  it.data = new MapData({ ticker: { now() {}, mark() {} } }, 'api/scans/S', new AbortController().signal);
  it.live = (from, to) => { for (let i = from; i < to; i += 1) it.rows.take(row(i), { anyway: true }); };
  it.draw = async (more = {}) => {
    it.data.follow({ measurement: 'main', x: 'x', y: 'y', value: 'v', rows: it.rows, stored: true, last: it.stored - 1, ...more });
    await settle();
  };
  it.values = () => [...it.data.points.columns()[2]];
  return it;
}
const upto = (n) => Array.from({ length: n }, (_, i) => i);

test('points: what is stored by pages, then live rows, once each and in order; a hole is asked for', async (t) => {
  const it = source(t, 10_000);
  await it.draw();
  assert.deepEqual([it.asked, it.values().length, it.data.caught], [[0, 8_192], 10_000, true]);
  it.live(9_980, 10_020);
  await it.draw();
  assert.deepEqual(it.values(), upto(10_020));
  // More came between two drawings than the page keeps.
  it.stored = 10_300;
  it.live(10_020, 10_300);
  await it.draw();
  await it.draw();
  assert.deepEqual([it.asked.slice(2), it.values().length], [[10_020], 10_300]);
  assert.deepEqual(it.values(), upto(10_300));
  assert.equal(it.data.now().filled, 10_300);
});

test('points: a question that failed is told and asked again later; rows that nobody has are left out', async (t) => {
  const it = source(t, 100);
  it.fail = true;
  await it.draw();
  assert.deepEqual([it.data.fault, it.values()], ['the store is away', []]);
  await it.draw();
  assert.equal(it.asked.length, 1, 'not at once');
  it.fail = false;
  it.ms += 5_000;
  await it.draw();
  assert.deepEqual([it.data.fault, it.values()], [null, upto(100)]);
  it.live(120, 130);
  for (let i = 0; i < 10; i += 1) {
    await it.draw();
    it.ms += 1_000;
  }
  assert.deepEqual(it.values(), [...upto(100), ...upto(130).slice(120)]);
});

test('points: another column begins anew; what is not stored comes from the page alone', async (t) => {
  const it = source(t, 100);
  await it.draw();
  await it.draw({ value: 'x' });
  assert.equal(it.values().length, 100);
  it.live(0, 5);
  await it.draw({ stored: false });
  assert.deepEqual(it.values(), upto(5));
  it.rows = new Rows(50);
  await it.draw({ stored: false });
  assert.deepEqual(it.values(), []);
});

test('points: of more rows than are kept, the newest, and said', async (t) => {
  const it = source(t, 270_000);
  await it.draw();
  for (let i = 0; i < 100 && !it.data.caught; i += 1) await settle();
  assert.deepEqual([it.asked[0], it.values().length, it.data.lost()], [270_000 - 262_144, 262_144, 270_000 - 262_144]);
});
