// The log: live at the end, still when read, bounded, never markup, filtered without losing what was typed.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { NAME, PHONE, daemon, skip, stage, until, visit } from './harness.mjs';

const { box, show } = stage({ args: ['--no-bench'] });

const lines = (source, from, count, more = {}) => box.post('/api/events', Array.from({ length: count }, (_, i) => ({ type: 'log', topic: 'log',
  payload: { level: 'INFO', message: `${source} says ${from + i}`, timestamp: new Date().toISOString(), source, ...more } })));

async function log(query = '', options = {}) {
  const it = await show(`log${query}`, options);
  const { page } = it;
  await page.waitForSelector('log-panel .log-scroll');
  await page.waitForFunction(async () => {
    const { app } = await import(new URL('js/app.js', location.href).href);
    app.connection.refresh();
    return app.store.link.topics?.includes('log') && app.store.link.status === 'live';
  }, null, { polling: 100 });
  return {
    ...it,
    texts: () => page.$$eval('.log-message', (all) => all.map((m) => m.textContent)),
    wait_line: (text) => page.waitForSelector(`.log-row:has-text("${text}")`),
    scroll: () => page.$eval('.log-scroll', (s) => ({ top: Math.round(s.scrollTop), end: Math.round(s.scrollHeight - s.clientHeight - s.scrollTop) })),
    up: (px = 300) => page.$eval('.log-scroll', (s, by) => { s.scrollTop -= by; }, px),
  };
}

test('live at the end; read further up it stands still and counts what is newer; a button leads back', { skip }, async () => {
  await lines('a', 0, 60);
  const it = await log();
  const { page } = it;
  await it.wait_line('a says 59');
  await lines('a', 60, 5);
  await it.wait_line('a says 64');
  await until('the end', async () => (await it.scroll()).end <= 1);
  await it.up();
  await page.waitForSelector('.log-follow');
  const before = await it.scroll();
  const seen = await it.texts();
  await lines('a', 65, 7);
  await page.waitForSelector('.log-follow[data-newer="7"]');
  assert.match(await page.innerText('.log-follow'), /Paused · 7 newer/);
  assert.deepEqual(await it.texts(), seen, 'no row was added');
  assert.equal((await it.scroll()).top, before.top);
  await page.click('.log-follow');
  await it.wait_line('a says 71');
  await until('the end', async () => (await it.scroll()).end <= 1);
  assert.equal(await page.locator('.log-follow').count(), 0);
  await it.up();
  await page.waitForSelector('.log-follow');
  await page.$eval('.log-scroll', (s) => { s.scrollTop = s.scrollHeight; });
  await page.waitForSelector('.log-follow', { state: 'detached' });
  await it.clean();
});

test('at most 500 rows, none of them markup', { skip }, async () => {
  const it = await log('', { device: PHONE });
  const { page } = it;
  for (let i = 0; i < 8; i += 1) await lines('many', i * 100, 100);
  await it.wait_line('many says 799');
  assert.equal(await page.locator('.log-row').count(), 500);
  assert.equal((await it.texts())[0], 'many says 300');
  await lines('x', 0, 1, { message: '<img src=x onerror="globalThis.hit=1"><b>bold</b>\nsecond line', source: '<i>x</i>', level: 'ERROR' });
  await it.wait_line('<b>bold</b>');
  assert.equal(await page.evaluate(() => document.querySelectorAll('log-panel :is(img, b, i)').length + (globalThis.hit ?? 0)), 0);
  await it.up();
  await page.waitForSelector('.log-follow');
  for (let i = 0; i < 7; i += 1) await lines('more', i * 100, 100);
  await page.waitForSelector('.log-follow[data-newer="700"]');
  assert.equal(await page.locator('.log-row').count(), 500);
  await page.click('.log-follow');
  await it.wait_line('more says 699');
  const texts = (await it.texts()).filter((text) => text.startsWith('more'));
  assert.deepEqual(texts.slice(-500), Array.from({ length: 500 }, (_, i) => `more says ${i + 200}`), 'one piece, without a hole');
  await it.clean();
});

test('older lines come by pages, and what is looked at stays where it is', { skip }, async () => {
  for (let i = 0; i < 5; i += 1) await lines('old', i * 100, 100);
  const it = await log('?source=old');
  const { page } = it;
  await it.wait_line('old says 499');
  await until('the first page', async () => (await it.texts())[0] === 'old says 300');
  await page.$eval('.log-scroll', (s) => { s.scrollTop = 0; });
  const row = page.locator('.log-row:has-text("old says 300")');
  const before = await row.boundingBox();
  await page.click('.log-older');
  await it.wait_line('old says 100');
  const after_it = await row.boundingBox();
  assert.ok(Math.abs(after_it.y - before.y) <= 48, JSON.stringify([before, after_it]));
  await page.$eval('.log-scroll', (s) => { s.scrollTop = 0; });
  await page.click('.log-older');
  await it.wait_line('old says 0');
  assert.equal(await page.locator('.log-row').count(), 500);
  assert.equal(await page.locator('.log-older').count(), 0, 'there is nothing before the first');
  await it.clean();
});

test('filters: in the address both ways; what is typed survives every update; nothing that matches is said', { skip }, async () => {
  await lines('gps', 0, 3, { level: 'WARNING' });
  await lines('deck', 0, 3, { level: 'ERROR' });
  const it = await log('?level=warning&source=gps');
  const { page } = it;
  await it.wait_line('gps says 2');
  assert.equal(await page.inputValue('select[name=level]'), 'WARNING');
  assert.equal(await page.inputValue('select[name=source]'), 'gps');
  assert.ok((await it.texts()).every((text) => text.startsWith('gps')));
  await page.selectOption('select[name=source]', '');
  await it.wait_line('deck says 2');
  await page.click('input[name=text]');
  const typing = page.keyboard.type('says 1', { delay: 120 });
  for (let i = 0; i < 6; i += 1) await lines('gps', 10 + i, 1, { level: 'WARNING' });
  await typing;
  assert.equal(await page.inputValue('input[name=text]'), 'says 1');
  assert.ok(await page.evaluate(() => document.activeElement.name === 'text'));
  await until('the filter', async () => (await it.texts()).length > 0 && (await it.texts()).every((text) => text.includes('says 1')));
  assert.match(page.url(), /#\/log\?level=WARNING&text=says\+1$/);
  await lines('gps', 1, 1, { level: 'INFO', message: 'gps says 1, quietly' });
  await lines('gps', 1, 1, { level: 'CRITICAL', message: 'gps says 1, loudly' });
  await it.wait_line('loudly');
  assert.ok(!(await it.texts()).some((text) => text.includes('quietly')));
  await page.reload();
  await it.wait_line('loudly');
  assert.equal(await page.inputValue('input[name=text]'), 'says 1');
  await page.fill('input[name=text]', 'no such words');
  await page.waitForSelector('log-panel [data-empty="filter"]');
  await page.click('log-panel [data-empty="filter"] button');
  await it.wait_line('quietly');
  await it.clean();
});

test('four empties: loading, none, no match, an error with another try', { skip }, async () => {
  const it = await show('settings', { lossy: true });
  const { page } = it;
  let answer = null;
  let kind = 'stall';
  await page.route('**/api/log?*', async (route) => {
    if (kind === 'stall') await new Promise((ok) => { answer = ok; });
    return kind === 'error' ? route.fulfill({ status: 503, contentType: 'application/problem+json', body: '{"status":503,"title":"busy","detail":"the store is busy"}' })
      : route.fulfill({ status: 200, contentType: 'application/json', body: '{"items":[],"next":null,"sources":[]}' });
  });
  await visit(page, 'log');
  await page.waitForSelector('log-panel [data-empty="loading"]');
  kind = 'none';
  answer();
  await page.waitForSelector('log-panel [data-empty="none"]');
  await page.fill('input[name=text]', 'x');
  await page.waitForSelector('log-panel [data-empty="filter"]');
  kind = 'error';
  await page.fill('input[name=text]', '');
  await page.waitForSelector('log-panel [data-empty="error"]');
  assert.match(await page.innerText('log-panel'), /the store is busy/);
  kind = 'none';
  await page.click('log-panel [data-empty="error"] button');
  await page.waitForSelector('log-panel [data-empty="none"]');
});

test('taken along as text, also by a plain-http name', { skip }, async () => {
  await lines('take', 0, 2, { level: 'ERROR' });
  const it = await log('?source=take', { url: box.url.replace('127.0.0.1', NAME) });
  const { page } = it;
  await it.wait_line('take says 1');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('[data-take="save"]')]);
  assert.match(download.suggestedFilename(), /^log-[\dT-]+\.txt$/);
  assert.match(await readFile(await download.path(), 'utf8'), /^\S+Z ERROR {4}take: take says 0\n\S+Z ERROR {4}take: take says 1\n$/);
  await page.evaluate(() => document.addEventListener('copy', () => { globalThis.copied = document.activeElement.value; }));
  await page.click('[data-take="copy"]');
  await page.waitForSelector('.note[data-tone="good"]:has-text("2 lines copied")');
  assert.match(await page.evaluate(() => globalThis.copied), /take says 1/);
  await it.clean();
});

test('a line written before the clock was set is marked', { skip }, async () => {
  const unset = await daemon({ args: ['--no-bench'], env: { TELLTALE_CLOCK: 'unsynced' } });
  try {
    await unset.post('/api/events', { type: 'log', topic: 'log', payload: { level: 'INFO', message: 'early', timestamp: new Date().toISOString() } });
    const it = await log('', { url: unset.url });
    await it.wait_line('early');
    assert.equal(await it.page.getAttribute('.log-row:has-text("early") time', 'data-clock'), 'unsynced');
    await it.page.waitForSelector('[data-log="marks"]');
    await it.clean();
  } finally {
    await unset.close();
  }
});
