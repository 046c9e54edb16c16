// The rows of a scan whatever goes wrong with asking for them: nothing is left out, and nothing of another measurement comes in.

import assert from 'node:assert/strict';
import test from 'node:test';
import { ScanData } from '../../www/js/core/scan_data.js';

const settle = () => new Promise((ok) => setTimeout(ok, 5));
const json = (status, body) => new Response(JSON.stringify(body), { status });
const down = () => json(503, { detail: 'the store is away', status: 503 });

/** A scan with `stored` rows of each measurement, as the daemon has them; `fail(path)` says which questions fail. */
async function page(t, { stored = { main: 5 }, fail = () => false } = {}) {
  const it = { stored, fail, asked: [], ms: 0, connected: true };
  t.mock.method(performance, 'now', () => it.ms);
  t.mock.method(globalThis, 'fetch', async (href) => {
    const url = new URL(href);
    const rest = url.pathname.split('/api/scans/S')[1];
    it.asked.push(`${rest}${url.search}`);
    await it.hold;
    if (it.fail(rest, url)) return down();
    const last_index = Object.fromEntries(Object.entries(it.stored).map(([name, n]) => [name, n - 1]));
    if (rest === '') return json(200, { scan_id: 'S', status: 'running', last_index, columns: Object.fromEntries(Object.keys(it.stored).map((name) => [name, [{ name: 'v' }]])) });
    const name = url.searchParams.get('measurement');
    const from = Number(url.searchParams.get('from'));
    const n = it.stored[name] ?? 0;
    return json(200, { first_index: from, data: { v: Array.from({ length: Math.max(0, n - from) }, (_, i) => from + i) }, last_index: n - 1, next: null });
  });
  const abort = new AbortController();
  t.after(() => abort.abort());
  const listeners = [];
  const app = { store: { listen: (f) => listeners.push(f), connected: () => it.connected }, ticker: { now() {} } };
  it.data = new ScanData(app, 'S', abort.signal);
  it.live = (index, measurement = 'main') => listeners.forEach((f) => f({ type: 'data_point', payload: { scan_id: 'S', measurement, sequence_index: index, data: { v: index } } }));
  /** The page is drawn, `ms` later. */
  it.draw = async (ms = 0) => {
    it.ms += ms;
    it.data.take();
    await settle();
  };
  it.rows = () => [...it.data.rows.points.columns()[0]];
  await settle();
  return it;
}
const upto = (n) => Array.from({ length: n }, (_, i) => i);

test('a first question that fails is told; what comes meanwhile waits, each for its measurement', async (t) => {
  const it = await page(t, { stored: { main: 5, other: 3 }, fail: () => true });
  assert.deepEqual([it.data.status, it.data.reason], ['error', 'the store is away']);
  it.live(3, 'other');
  it.live(5);
  await it.draw();
  assert.deepEqual(it.rows(), [], 'nothing of before is known: nothing is shown as if it were all');
  it.fail = () => false;
  it.connected = false;
  await it.draw();
  it.connected = true;
  await it.draw();
  assert.equal(it.data.status, 'ok');
  assert.equal(it.data.measurement, 'main');
  await it.draw();
  assert.deepEqual(it.rows(), upto(6));
});

test('a first question that failed is asked again after a while, though no loss of the connection was seen', async (t) => {
  const it = await page(t, { fail: () => true });
  await it.draw(500);
  assert.equal(it.asked.length, 1);
  await it.draw(500);
  assert.deepEqual([it.asked.length, it.data.status], [2, 'error']);
  it.fail = () => false;
  await it.draw(2_000);
  assert.deepEqual([it.data.status, it.data.fault, it.rows()], ['ok', null, upto(5)]);
});

test('a first refill that fails: no live row is taken before what is stored', async (t) => {
  const it = await page(t, { fail: (path) => path === '/data' });
  assert.equal(it.data.fault, 'the store is away');
  it.live(5);
  await it.draw(10);
  assert.deepEqual(it.rows(), []);
  it.fail = () => false;
  await it.draw(1_000);
  await it.draw();
  assert.deepEqual(it.rows(), upto(6));
  assert.deepEqual([it.data.failures, it.data.fault], [0, null]);
});

test('a hole is asked for after 1, 2 and 4 s, and never left out because asking failed', async (t) => {
  const it = await page(t);
  assert.deepEqual(it.rows(), upto(5));
  it.fail = () => true;
  it.stored.main = 9;
  it.live(8);
  const at = [];
  for (it.ms = 0; it.ms <= 12_000; it.ms += 100) {
    const before = it.asked.length;
    await it.draw();
    if (it.asked.length > before) at.push(it.ms);
  }
  assert.deepEqual(at, [0, 1_000, 3_000, 7_000, 11_000]);
  assert.deepEqual(it.rows(), upto(5));
  it.fail = () => false;
  await it.draw(5_000);
  await it.draw();
  assert.deepEqual(it.rows(), upto(9));
});

test('what is not stored either is a gap, after three answers', async (t) => {
  const it = await page(t);
  it.live(8);
  for (let i = 0; i < 6; i += 1) await it.draw(1_000);
  assert.deepEqual(it.rows(), [...upto(5), NaN, 8]);
  assert.equal(it.asked.filter((path) => path.includes('from=5')).length, 3);
});

test('another measurement, chosen while rows are asked for, gets its own', async (t) => {
  const it = await page(t, { stored: { main: 5, other: 3 } });
  let go;
  it.hold = new Promise((ok) => { go = ok; });
  it.live(8);
  await it.draw();
  it.data.choose('other');
  go();
  await settle();
  assert.deepEqual(it.rows(), upto(3));
});
