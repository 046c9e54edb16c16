// Under load: 1,000 events a second with the processor slowed to a sixth, as on an old phone. The page stays within
// half of its main thread, taps are answered, memory is bounded.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PHONE, collect_notes, heap_of, skip, stage } from './harness.mjs';

const SECONDS = 6;
/** Other work on the machine can only make a figure worse, so the best of a few windows counts. */
const WINDOWS = 4;
const BUSY_MS = 500;
const TAP_MS = 200;
const RATE = 1_000;
const STREAMS = 20;
const THROTTLE = 6;

const { box, show } = stage();

/** Publishes half records, half stream values, ten batches a second, until stopped. */
function pour() {
  let n = 0;
  const send = () => {
    const lines = Array.from({ length: RATE / 10 }, (_, i) => (i % 2
      ? { type: 'note', topic: 'app/test', payload: { n: n += 1 } }
      : { type: 'stream_value', payload: { stream_id: `load${(i / 2) % STREAMS}`, value: Math.random(), unit: 'V', timestamp: new Date().toISOString(), quality: 'good' } }));
    return fetch(`${box.url}/api/events`, { method: 'POST', headers: { 'content-type': 'application/x-ndjson' }, body: lines.map((l) => JSON.stringify(l)).join('\n') }).then((r) => r.arrayBuffer());
  };
  const timer = setInterval(() => send().catch(() => {}), 100);
  return { stop: () => clearInterval(timer), sent: () => n };
}

/** One window at the slow speed, with two taps a second. */
async function measure(page, cdp, metrics) {
  await page.evaluate(() => {
    globalThis.notes.length = 0;
    globalThis.long.length = 0;
    globalThis.taps.length = 0;
  });
  await cdp.send('Emulation.setCPUThrottlingRate', { rate: THROTTLE });
  const [start, before] = [Date.now(), await metrics()];
  for (let i = 0; i < SECONDS * 2; i += 1) {
    await page.touchscreen.tap(200, 30);
    await new Promise((ok) => setTimeout(ok, Math.max(0, start + (i + 1) * 500 - Date.now())));
  }
  const [seconds, now] = [(Date.now() - start) / 1_000, await metrics()];
  await cdp.send('Emulation.setCPUThrottlingRate', { rate: 1 });
  const { long, taps, notes } = await page.evaluate(() => ({ long: globalThis.long, taps: globalThis.taps, notes: globalThis.notes.length }));
  return {
    busy: ((now.TaskDuration - before.TaskDuration) * 1_000) / seconds,
    longest: Math.max(0, ...long),
    tap: taps.sort((a, b) => a - b).at(Math.floor(taps.length * 0.98)) ?? 0,
    records: notes / seconds,
  };
}

test('1,000 events a second at a sixth of the speed', { skip }, async (t) => {
  const it = await show(undefined, { device: PHONE });
  const { page } = it;
  await collect_notes(page);
  await page.waitForSelector('[data-command="stop"]');
  const cdp = await it.context.newCDPSession(page);
  await cdp.send('Performance.enable');
  const metrics = async () => Object.fromEntries((await cdp.send('Performance.getMetrics')).metrics.map((m) => [m.name, m.value]));
  const heap = await heap_of(it);
  const load = pour();
  await page.waitForFunction(() => /load0[\s\S]*more/.test(document.querySelector('#card-streams')?.innerText));
  await page.evaluate(() => {
    globalThis.long = [];
    globalThis.taps = [];
    new PerformanceObserver((list) => globalThis.long.push(...list.getEntries().map((e) => e.duration))).observe({ type: 'longtask' });
    new PerformanceObserver((list) => globalThis.taps.push(...list.getEntries().filter((e) => e.name === 'pointerup').map((e) => e.duration))).observe({ type: 'event', durationThreshold: 16 });
  });
  let best = null;
  for (let n = 0; n < WINDOWS && !(best?.busy <= BUSY_MS && best.tap <= TAP_MS); n += 1) {
    const found = await measure(page, cdp, metrics);
    t.diagnostic(`main thread ${found.busy.toFixed(0)} ms/s, longest task ${found.longest.toFixed(0)} ms, tap to paint p98 ${found.tap.toFixed(0)} ms, ${found.records.toFixed(0)} records/s taken`);
    if (!best || found.busy + found.tap < best.busy + best.tap) best = found;
  }
  // What the first windows loaded and compiled stays; what comes after them must not add up.
  await page.evaluate(() => { globalThis.notes.length = 0; });
  const heap_before = await heap();
  await measure(page, cdp, metrics);
  load.stop();
  const { busy, tap, records } = best;
  await page.evaluate(() => { globalThis.notes.length = 0; });
  const grown = (await heap()) - heap_before;
  t.diagnostic(`heap ${(grown / 1e6).toFixed(2)} MB`);
  assert.ok(records > RATE / 2 * 0.8, `only ${records} records a second arrived`);
  assert.ok(busy <= BUSY_MS, `${busy} ms of main thread a second`);
  assert.ok(tap <= TAP_MS, `tap to paint ${tap} ms`);
  assert.ok(grown < 1e6, `the heap grew by ${grown} bytes`);
  const rows = await page.evaluate(() => document.querySelectorAll('*').length);
  assert.ok(rows < 3_000, `${rows} elements`);
  await it.clean();
});
