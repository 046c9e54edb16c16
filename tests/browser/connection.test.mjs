// Losing the daemon and finding it again: noticed in time, told in words, nothing missing, nothing twice, nothing of
// the person's lost.

import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { HEARTBEAT_S, collect_notes, conn, conn_now, publish_notes, record_conn, skip, stage, until, visit } from './harness.mjs';
import { proxy } from './proxy.mjs';

let gate;
const { box, at } = stage({}, { page: { lossy: true }, ready: async () => { gate = await proxy(() => ({ host: '127.0.0.1', port: box.port })); } });
afterEach(() => {
  gate?.heal();
  gate?.kill();
  if (gate) gate.requests.length = 0;
});
after(() => gate?.close());

const system = (page) => page.evaluate(async () => {
  const { app } = await import(new URL('js/app.js', location.href).href);
  app.connection.refresh();
  return app.store.link;
});

test('the stream fails for good: polling, with commands and typed text undisturbed, then the stream again', { skip }, async () => {
  const { page } = await at(`${gate.url}/#/login`);
  const notes = await collect_notes(page);
  await publish_notes(box, 0, 3);
  await page.fill('input[name=key]', 'half a k');
  await page.focus('input[name=key]');
  const states = await record_conn(page);
  gate.break('busy');
  await conn(page, 'polling');
  await publish_notes(box, 3, 3);
  await until('the notes by polling', async () => (await notes()).length === 6);
  await page.keyboard.type('ey');
  const answer = await page.evaluate(() => fetch('/api/recorders/rec1/split', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"command_id":"c-while-polling"}' }).then((r) => r.status));
  assert.ok([200, 202, 409].includes(answer), String(answer));
  gate.heal();
  await conn(page, 'live', 40_000);
  await publish_notes(box, 6, 3);
  await until('the notes by the stream', async () => (await notes()).length >= 9);
  assert.deepEqual((await notes()).map(([, n]) => n), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
  assert.equal(await page.inputValue('input[name=key]'), 'half a key');
  assert.equal(await page.evaluate(() => document.activeElement.name), 'key');
  assert.deepEqual((await states()).map(([s]) => s), ['live', 'reconnecting', 'polling', 'live'], 'the chip does not flicker');
});

test('commands work while polling, and are confirmed by it', { skip }, async () => {
  const { page } = await at(gate.url, { preferences: { mode: 'polling', poll_ms: 1_000 }, wait: 'polling' });
  await page.waitForSelector('[data-command="start"][aria-disabled="false"], [data-command="split"][aria-disabled="false"]');
  const action = await page.evaluate(() => document.querySelector('[data-command][aria-disabled="false"]:not(.danger)').dataset.command);
  await page.click(`[data-command="${action}"]`);
  await page.waitForSelector('.note[data-tone="good"], .note[data-tone="bad"]');
  assert.equal(gate.streams(), 0);
  assert.equal((await system(page)).path, 'polling');
});

test('a half-open stream is noticed within 2.5 heartbeats; then every value is marked and a banner says since when', { skip }, async () => {
  const { page } = await at(gate.url);
  await page.waitForSelector('.spark path[d^="M"]');
  await page.waitForFunction(() => document.querySelectorAll('.val:not([data-stale])').length > 3);
  const states = await record_conn(page);
  const [[, start]] = await states();
  const cut = await page.evaluate(() => performance.now());
  gate.break('stall');
  await conn(page, 'reconnecting', 2_500 * HEARTBEAT_S + 2_000);
  const noticed = (await states()).find(([s]) => s === 'reconnecting')[1] - cut;
  assert.ok(start <= cut && noticed <= 2_500 * HEARTBEAT_S + 700, `noticed after ${noticed} ms`);
  await page.waitForSelector('[data-banner="connection"]');
  await page.waitForFunction(() => document.querySelectorAll('.val').length > 3 && document.querySelectorAll('.val:not([data-stale])').length === 0);
  assert.match(await page.textContent('#card-streams'), /not current, \d+ s old/);
  gate.heal();
  await conn(page, 'live', 40_000);
  await page.waitForFunction(() => !document.querySelector('[data-banner="connection"]') && document.querySelectorAll('.val:not([data-stale])').length > 3);
  assert.ok((await system(page)).counters.stalls >= 1);
});

test('a loss shorter than a second shows nothing but the chip, and no button moves', { skip }, async () => {
  const { page } = await at(gate.url);
  await page.waitForSelector('[data-command="stop"]');
  await page.evaluate(() => {
    globalThis.banners = 0;
    new MutationObserver(() => { if (document.querySelector('[data-banner]')) globalThis.banners += 1; }).observe(document.getElementById('banners'), { childList: true, subtree: true });
  });
  gate.kill();
  await conn(page, 'reconnecting', 3_000);
  await conn(page, 'live');
  const link = await system(page);
  assert.equal(link.counters.drops, 1);
  const seen = await page.evaluate(() => globalThis.banners);
  // The first retry waits about a second: a banner may show for the rest of it, but never before a second has passed.
  assert.ok(seen <= 2, `${seen} changes of banners`);
  // Within its card, so that an alert of the bench that comes above it does not count.
  const place = () => page.evaluate(() => [...document.querySelectorAll('[id^="card-recorder"] [data-command]')].map((b) => {
    const [at, card] = [b.getBoundingClientRect(), b.closest('.card').getBoundingClientRect()];
    return [b.dataset.command, at.x, at.y - card.y, at.width, at.height].join(' ');
  }).join('; '));
  const calm = await place();
  gate.break('refuse');
  await page.waitForSelector('[data-banner="connection"]');
  assert.equal(await place(), calm);
  assert.equal(await page.evaluate(() => getComputedStyle(document.getElementById('banners')).position), 'fixed');
});

test('a restart of the daemon: the page catches up by itself, nothing missing, nothing twice; old values are marked', { skip }, async () => {
  const it = await at(gate.url);
  const { page } = it;
  await page.waitForSelector('.spark path[d^="M"]');
  await page.evaluate(() => { globalThis.kept = true; });
  const notes = await collect_notes(page);
  await publish_notes(box, 0, 20);
  await box.stop();
  await conn(page, 'offline');
  assert.equal(await page.evaluate(() => document.querySelector('[data-conn] use').getBoundingClientRect().width > 5), true, 'the icon is there without the box');
  assert.equal(await page.getAttribute('[data-command="start"]', 'aria-disabled'), 'true');
  assert.match(await page.getAttribute('[data-command="start"]', 'title') ?? '', /offline|Not possible/);
  await box.start();
  await publish_notes(box, 20, 20);
  await conn(page, 'live', 40_000);
  await publish_notes(box, 40, 20);
  await until('all notes', async () => (await notes()).length >= 60);
  const got = await notes();
  assert.deepEqual(got.map(([, n]) => n), Array.from({ length: 60 }, (_, i) => i));
  assert.equal(new Set(got.map(([id]) => id)).size, 60);
  assert.equal(await page.evaluate(() => globalThis.kept), true, 'the page was not reloaded');
});

test('kill -9 of the daemon: what was lost is told, the rest is exact', { skip }, async () => {
  const { page } = await at(gate.url);
  const notes = await collect_notes(page);
  await box.post('/api/events?durable=true', { type: 'note', topic: 'app/test', payload: { n: 0 } });
  await publish_notes(box, 1, 5);
  await until('the notes', async () => (await notes()).length === 6);
  await box.kill();
  await box.start();
  await conn(page, 'live', 40_000);
  await publish_notes(box, 100, 5);
  await until('the notes after', async () => (await notes()).some(([, n]) => n === 104));
  const numbers = (await notes()).map(([, n]) => n);
  assert.equal(new Set(numbers).size, numbers.length, 'nothing twice');
  assert.deepEqual(numbers.filter((n) => n >= 100), [100, 101, 102, 103, 104]);
  // The last commit window of what was not acknowledged is gone; the page is told where there is something to tell.
  const kept = (await box.get('/api/events?format=json&since=earliest&topics=app/test&limit=5000')).events.filter((e) => e.type === 'note' && e.payload.n < 6);
  if (kept.length < 6) assert.ok((await system(page)).counters.gaps >= 1, 'a loss without a word');
});

test('values from before a restart say so until their source speaks again', { skip }, async () => {
  await box.post('/api/streams/silent?durable=true', { value: 4.25, unit: 'bar' });
  await box.stop();
  await box.start();
  const { page } = await at(gate.url);
  const row = page.locator('#card-streams .row', { hasText: 'silent' });
  await row.waitFor();
  assert.match(await row.innerText(), /from before the restart/);
  await box.post('/api/streams/silent', { value: 4.5, unit: 'bar' });
  await until('the new value', async () => /4\.500/.test(await row.innerText()) && !/before the restart/.test(await row.innerText()));
});

test('eight tabs use one stream and stay usable', { skip }, async () => {
  const it = await at(gate.url);
  const tabs = [it.page];
  for (let i = 1; i < 8; i += 1) {
    const tab = await it.context.newPage();
    await tab.goto(gate.url);
    await conn(tab, 'live');
    await tab.waitForSelector('[data-command="stop"]');
    tabs.push(tab);
  }
  assert.equal(gate.streams(), 1);
  const ms = await tabs.at(-1).evaluate(async () => {
    const start = performance.now();
    await fetch('/api/state');
    return performance.now() - start;
  });
  assert.ok(ms < 2_000, `a request took ${ms} ms`);
  assert.equal((await until('the count of tabs', async () => ((await system(tabs[0])).tabs === 8) && system(tabs[0]))).transport, 'shared_worker');
  for (const tab of tabs.slice(1)) await tab.close();
  await until('closed tabs to be forgotten', async () => (await system(tabs[0])).tabs === 1);
});

test('without a shared worker the visible tab holds the stream; a hidden one lets go after 30 s and comes back at once', { skip }, async () => {
  const it = await at('about:blank', { shared: false, wait: null });
  const { page } = it;
  await page.clock.install();
  await page.goto(gate.url);
  await conn(page, 'live');
  assert.equal((await system(page)).transport, 'tab');
  assert.equal(gate.streams(), 1);
  const show = (state) => page.evaluate((value) => {
    Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => value });
    document.dispatchEvent(new Event('visibilitychange'));
  }, state);
  await show('hidden');
  await page.clock.fastForward(25_000);
  // To the page that was a silence of 25 s, so it takes up a new stream; it has not let go yet.
  await until('a stream', () => gate.streams() === 1);
  await page.clock.fastForward(5_000);
  await until('the stream to be let go', () => gate.streams() === 0);
  const asked = gate.requests.length;
  await show('visible');
  await until('a request at once', () => gate.requests.length > asked, 500);
  await conn(page, 'live');
});

test('waking resumes at once instead of waiting for the back-off', { skip }, async () => {
  const { page } = await at(gate.url, { preferences: { mode: 'stream' } });
  gate.break('refuse');
  await conn(page, 'offline', 30_000);
  gate.heal();
  const asked = gate.requests.length;
  await page.evaluate(() => dispatchEvent(new Event('online')));
  await until('a request within half a second', () => gate.requests.length > asked, 700);
  await conn(page, 'live');
});

test('changing pages keeps the stream, brings what the new page needs, and keeps what was seen', { skip }, async () => {
  const { page } = await at(gate.url);
  await page.waitForSelector('.spark path[d^="M"]');
  const states = await record_conn(page);
  for (const name of ['system', 'settings', 'overview', 'system', 'overview']) await visit(page, name);
  await page.waitForSelector('.spark path[d^="M"]');
  assert.deepEqual((await states()).map(([s]) => s), ['live']);
  assert.equal(await conn_now(page), 'live');
});

test('the system page shows the connection and the daemon counts what it is told', { skip }, async () => {
  const { page } = await at(`${gate.url}/#/system`);
  gate.kill();
  await conn(page, 'reconnecting', 3_000);
  await conn(page, 'live');
  await page.waitForFunction(() => document.querySelector('[data-counter="reconnects"]')?.textContent === '1');
  assert.equal(await page.textContent('[data-counter="drops"]'), '1');
  assert.equal(await page.getAttribute('[data-path]', 'data-path'), 'stream');
  await until('a report', () => gate.posts(/\/api\/telemetry$/).length === 1);
});
