// Columns of a chart: bounded, gaps kept, sums right.

import assert from 'node:assert/strict';
import test from 'node:test';
import { CONDENSED_GAP_TIMES, Points, extent, figures, gap_step, gaps, line_over_time, nearest, places, roomy, runs, whole } from '../../www/js/state/chart.js';

const rows = (points) => points.columns().map((c) => [...c]);

test('only the newest points are kept, in arrays that never grow', () => {
  const points = new Points(2, 10);
  const arrays = [...points.arrays];
  for (let i = 0; i < 1_000; i += 1) {
    points.push(i, [i * 2, i * 3]);
    assert.ok(points.length <= 10);
    const [x] = rows(points);
    assert.deepEqual(x, Array.from({ length: points.length }, (_, k) => i - points.length + 1 + k), `after ${i}`);
  }
  assert.deepEqual(rows(points)[2], [2970, 2973, 2976, 2979, 2982, 2985, 2988, 2991, 2994, 2997]);
  assert.ok(points.arrays.every((a, i) => a === arrays[i] && a.length === 20));
  points.clear();
  assert.equal(points.length, 0);
});

test('what is no number is no value; a gap is one row, and none at the beginning', () => {
  const points = new Points(1, 10);
  points.gap();
  points.push(1, [5]);
  points.gap();
  points.gap();
  points.push(2, ['7']);
  points.push(3, [null]);
  points.push(4, [Infinity]);
  points.push(5, [6]);
  assert.deepEqual(rows(points), [[1, NaN, 2, 3, 4, 5], [5, NaN, NaN, NaN, NaN, 6]]);
  const [x, y] = points.columns();
  assert.deepEqual(runs(x, y), [{ from: 0, to: 0 }, { from: 5, to: 5 }]);
  assert.equal(gaps(x, y), 1);
});

test('whole columns', () => {
  const points = Points.of([[0, 1, 2], [3, null, 5]]);
  assert.deepEqual(rows(points), [[0, 1, 2], [3, NaN, 5]]);
  assert.equal(Points.of([[], []]).length, 0);
});

test('extents and figures', () => {
  assert.deepEqual(extent([NaN, 3, -1, NaN]), [-1, 3]);
  assert.equal(extent([NaN]), null);
  assert.deepEqual(whole([null, [1, 2], [-4, 0]]), [-4, 2]);
  assert.equal(whole([null]), null);
  assert.deepEqual(roomy([5, 5]), [4.75, 5.25]);
  assert.deepEqual(roomy([0, 0]), [-1, 1]);
  assert.deepEqual(figures([1, NaN, 4, NaN]), { n: 2, least: 1, most: 4, last: 4 });
  assert.deepEqual(figures([NaN]), { n: 0, least: null, most: null, last: null });
  assert.equal(gaps([0, 1, 2, 3, 4, 5], [NaN, 1, NaN, NaN, 2, NaN]), 1);
});

test('the nearest point along x, also where x goes back', () => {
  const same = (v) => v;
  assert.equal(nearest([0, 50, 100, 50, 0], [1, 1, 1, 200, 200], 52, 200, same, same), 3);
  assert.equal(nearest([0, 50], [NaN, 1], 0, 0, same, same), null);
});

test('a long pause is a gap, a slow rhythm is none; a jump back begins the next sweep', () => {
  const x = [0, 1, 2, 3.1, 4, 9, 10, 11];
  assert.ok(gap_step(x) > 2 && gap_step(x) < 4);
  assert.equal(gap_step([1, 2]), Infinity);
  const y = x.map(() => 1);
  assert.deepEqual(runs(x, y, { step: gap_step(x) }), [{ from: 0, to: 4 }, { from: 5, to: 7 }]);
  assert.equal(gaps(x, y, gap_step(x)), 1);
  assert.deepEqual(runs([0, 1, 2, 0, 1, 2], [1, 1, 1, 1, 1, 1], { back: 1 }), [{ from: 0, to: 2 }, { from: 3, to: 5 }]);
});

test('a line over time: with its gap, and none where it is uneven because it was condensed', () => {
  const values = (n) => Array.from({ length: n }, (_, i) => i);
  const drawn = (x, times) => {
    const { points, step } = line_over_time(x, values(x.length), times);
    const [at, y] = points.columns();
    return runs(at, y, { step });
  };
  assert.deepEqual(drawn([0, 10, 20, 30, 200, 210], 4), [{ from: 0, to: 3 }, { from: 4, to: 5 }]);
  assert.deepEqual(drawn([0, 2, 10, 11, 19, 22, 30], CONDENSED_GAP_TIMES), [{ from: 0, to: 6 }]);
  assert.equal(drawn([0, 2, 10, 11, 19, 22, 200], CONDENSED_GAP_TIMES).length, 2);
  // Two values of one moment, the least and the greatest of a span, are no distance.
  assert.deepEqual(drawn([0, 0, 10, 10, 20, 20, 30, 30], CONDENSED_GAP_TIMES), [{ from: 0, to: 7 }]);
  assert.deepEqual(drawn([5], 4), [{ from: 0, to: 0 }]);
});

test('a column more', () => {
  const points = new Points(1, 3);
  points.push(0, [1]);
  points.widen();
  points.push(1, [2, 5]);
  assert.deepEqual(rows(points), [[0, 1], [1, 2], [NaN, 5]]);
});

test('ticks have the places their distance needs', () => {
  assert.deepEqual([1, 0.5, 0.25, 0.001, 2.5, 100].map(places), [0, 1, 2, 3, 1, 0]);
});
