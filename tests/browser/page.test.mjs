// The page as it stands: everything moves, nothing from outside, readable, reachable, within the screen.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DESK, NAME, PHONE, axe_of, chrome, conn, skip, stage, until, visit } from './harness.mjs';

const PAGES = ['overview', 'recorder', 'recordings', 'signals', 'streams/grid_hz', 'detections', 'queues', 'queue/QUEUE_001', 'scans', 'scan/SCAN_001', 'instruments', 'instrument/psu', 'instrument/stage', 'alerts', 'log', 'system', 'system/sources/rec1', 'system/config/store', 'settings', 'more', 'login'];
/** The bench, and something to edit. */
const CONFIG = 'name = "telltale"\nbench = true\n\n[[service]]\nname = "nothing"\nunit = "nothing-of-that-name.service"\n';
const THEMES = ['auto', 'light', 'dark', 'sun'];
const CARDS = ['recorder', 'jobs', 'detections', 'queues', 'instruments', 'services', 'streams', 'signals', 'box', 'sources'];

const { box, show } = stage({ config: CONFIG });

test('the overview shows every system, moving, and asks nobody but the daemon', { skip }, async () => {
  const it = await show();
  const { page } = it;
  for (const card of CARDS) await page.waitForSelector(`[id^="card-${card}"] .card-body`);
  await until('every card to have data', () => page.evaluate(() => !document.querySelector('[data-empty="loading"], [data-empty="fault"]')));
  const texts = () => page.evaluate(() => Object.fromEntries(['recorder', 'queues', 'streams', 'instruments', 'box'].map((name) => [name, document.querySelector(`[id^="card-${name}"]`)?.innerText])));
  const first = await texts();
  await until('every system to move', async () => {
    const now = await texts();
    return Object.keys(first).every((name) => now[name] !== first[name]);
  });
  await page.waitForSelector('.spark path[d^="M"]');
  assert.equal(await page.getAttribute('html', 'lang'), 'en');
  await it.clean();
});

/** An alert with everything to it, and log lines of every level, so that no page is bare. */
async function something_to_see() {
  const raised_at = new Date().toISOString();
  await box.post('/api/events', ['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'].map((level) => ({ type: 'log', topic: 'log', payload: { level, message: `a line of ${level} `.repeat(9), timestamp: raised_at, source: 'gps' } })));
  await box.post('/api/events', ['active', 'acknowledged', 'cleared'].map((state, i) => ({ type: 'alert', payload: {
    alert_id: `seen.${state}`, occurrence: 2, severity: ['MAJOR', 'MINOR', 'INVALID'][i], state, message: `An alert that is ${state}, with rather many words in it`, raised_at, guidance: 'What to do about it.', source: 'rec1',
    value: 41.25, limit: 40, unit: 'degC', ...(state === 'cleared' ? { cleared_at: raised_at } : {}), ...(state === 'acknowledged' ? { acked_by: 'Ann', acked_at: raised_at } : {}) } })));
}

/** Everything has come, and everything that can be unfolded is. */
async function unfolded(page) {
  await page.waitForFunction(() => !document.querySelector('main [data-empty="loading"]'));
  await page.evaluate(() => document.querySelectorAll('main details').forEach((fold) => { fold.open = true; }));
}

test('the same by a plain-http name, where much of the browser is missing', { skip }, async () => {
  const it = await show(undefined, { url: box.url.replace('127.0.0.1', NAME) });
  assert.equal(await it.page.evaluate(() => isSecureContext), false);
  for (const name of PAGES) await visit(it.page, name);
  await visit(it.page, 'overview');
  await it.page.waitForSelector('[data-command="start"]');
  await it.clean();
});

test('accessible in every theme, on every page; the check itself finds faults', { skip }, async () => {
  const it = await show(undefined, { device: PHONE });
  const { page } = it;
  await something_to_see();
  await page.waitForSelector('.spark path[d^="M"]');
  const check = await axe_of(page);
  for (const theme of THEMES) {
    await page.evaluate(async (name) => (await import(new URL('js/app.js', location.href).href)).app.choose('theme', name), theme);
    for (const name of PAGES) {
      await visit(page, name);
      await unfolded(page);
      const colours_only = theme !== THEMES[0];
      const { violations, passes } = await check({ colours_only, strong: theme === 'sun' });
      assert.deepEqual(violations, [], `${theme} ${name}`);
      assert.ok(passes > (colours_only ? 0 : 10));
    }
  }
  await page.evaluate(() => {
    const button = document.createElement('button');
    const pale = Object.assign(document.createElement('p'), { textContent: 'hardly to be read' });
    pale.style.color = '#ddd';
    pale.style.background = '#fff';
    document.querySelector('main').append(button, Object.assign(document.createElement('img'), { src: 'icon.svg' }), pale);
  });
  const found = async (how) => (await check(how)).violations.map((v) => v.split(':')[0]).sort();
  assert.deepEqual(await found(), ['button-name', 'color-contrast', 'image-alt']);
  assert.deepEqual(await found({ colours_only: true }), ['color-contrast']);
});

test('320 and 390 px: no overflow, targets of 44 px, the chip in sight on every page', { skip }, async () => {
  for (const width of [320, 390]) {
    const it = await show(undefined, { device: { ...PHONE, viewport: { width, height: 700 } } });
    const { page } = it;
    await something_to_see();
    await page.waitForSelector('.spark path[d^="M"]');
    for (const name of PAGES) {
      await visit(page, name);
      await unfolded(page);
      const found = await page.evaluate(() => {
        const wide = [...document.querySelectorAll('body *')].filter((e) => {
          const box = e.getBoundingClientRect();
          return box.width > 1 && box.right > innerWidth + 0.5 && getComputedStyle(e).position !== 'absolute' && !e.closest('.clip, .visually-hidden, .state-more') && !e.closest('table')?.closest('.chart-scroll, .feeds-scroll');
        });
        const small = [...document.querySelectorAll('a, button, input, select, textarea, summary, label.option')]
          .filter((e) => !e.closest('label') || e.matches('label'))
          .filter((e) => {
            const box = e.getBoundingClientRect();
            return box.width && !e.matches('.skip') && !(e.matches('a') && e.closest('p') && !e.matches('.button')) && (box.height < 44 || box.width < 44);
          });
        const chip = document.querySelector('[data-conn]').getBoundingClientRect();
        const name = (e) => `${e.tagName}.${e.className} ${e.textContent.slice(0, 30)}`;
        return {
          scroll: document.documentElement.scrollWidth - innerWidth, wide: wide.map(name).slice(0, 5), small: small.map(name).slice(0, 5),
          chip: chip.top >= 0 && chip.bottom <= innerHeight && chip.left >= 0 && chip.right <= innerWidth && document.querySelector('[data-conn]').innerText.trim().length > 2,
          text: Math.min(...[...document.querySelectorAll('main *')].filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())).map((e) => parseFloat(getComputedStyle(e).fontSize))),
        };
      });
      assert.deepEqual(found, { scroll: 0, wide: [], small: [], chip: true, text: found.text }, `${name} at ${width} px`);
      assert.ok(found.text >= 14, `${name}: text of ${found.text} px`);
    }
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    assert.ok(await page.evaluate(() => document.querySelector('[data-conn]').getBoundingClientRect().top >= 0), 'the chip stays when scrolled');
    assert.doesNotMatch(await page.getAttribute('meta[name=viewport]', 'content'), /user-scalable|maximum-scale/);
    }
});

test('the keyboard reaches everything, and a visible focus shows where it is', { skip }, async () => {
  const it = await show();
  const { page } = it;
  await page.waitForSelector('[data-command="stop"]');
  const reached = new Set();
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'skip');
  for (let i = 0; i < 40; i += 1) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate(() => document.activeElement.dataset?.command ?? document.activeElement.getAttribute('href') ?? document.activeElement.tagName));
  }
  for (const want of ['#/overview', '#/system', '#/settings', 'start', 'split', 'stop']) assert.ok(reached.has(want), `${want} in ${[...reached]}`);
  assert.ok(await page.evaluate(() => parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2 || document.activeElement === document.body));
});

test('settings hold: theme and language, also after a reload', { skip }, async () => {
  const it = await show('settings');
  const { page } = it;
  await page.click('input[name=theme][value=sun]');
  await page.click('input[name=language][value=de]');
  await page.waitForSelector('h2:has-text("Einstellungen")');
  assert.equal(await page.getAttribute('html', 'lang'), 'de');
  await page.reload();
  await page.waitForSelector('h2:has-text("Einstellungen")');
  assert.equal(await page.getAttribute('html', 'data-theme'), 'sun');
  assert.ok(await page.isChecked('input[name=theme][value=sun]'));
  await it.clean();
});

test('an unknown address shows the overview; a page that fails to load says so and can be tried again', { skip }, async () => {
  const it = await show('nothing/here', { lossy: true });
  const { page, context } = it;
  await page.waitForSelector('#card-attention');
  await context.route('**/views/system.js', (route) => route.abort());
  await page.click('nav a[href="#/system"]');
  await page.waitForSelector('[data-empty="error"] button');
  await conn(page, 'live');
});

test('when the program does not load, the page itself says so', { skip }, async () => {
  const context = await (await chrome()).newContext(DESK);
  await context.route('**/js/app.js', (route) => route.abort());
  const page = await context.newPage();
  await page.goto(box.url);
  assert.equal(await page.isVisible('.boot h1'), false);
  await page.waitForSelector('.boot h1', { state: 'visible', timeout: 8_000 });
  await context.close();
});

test('a daemon of another version offers a reload and does not do it', { skip }, async () => {
  const it = await show();
  const { page } = it;
  await page.evaluate(async () => {
    const { app } = await import(new URL('js/app.js', location.href).href);
    app.store.take([{ is: 'hello', payload: { ...app.store.hello, version: '99.0.0' } }]);
    globalThis.kept = true;
  });
  await page.waitForSelector('[data-banner="version"] button');
  assert.equal(await page.evaluate(() => globalThis.kept), true);
});

test('what a program sends is text, never markup', { skip }, async () => {
  const it = await show();
  await box.post('/api/jobs/markup', { kind: '<b>kind</b>', status: 'running', progress: 0.5, source: '<img src=x onerror="globalThis.hit=1">' });
  await it.page.waitForFunction(() => document.querySelector('#card-jobs').textContent.includes('<img src=x'));
  assert.equal(await it.page.evaluate(() => document.querySelectorAll('#card-jobs img, #card-jobs b').length + (globalThis.hit ?? 0)), 0);
  await it.clean();
});
