// The page of a scan: its points complete whatever happens to the connection, drawn as they are, bounded; what it asks of
// the person; and its playback, which nobody can take for the present.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { conn, heap_of, skip, stage, until, visit } from './harness.mjs';
import { proxy } from './proxy.mjs';

const { box, show } = stage({}, { page: { lossy: true } });

const COLUMNS = [{ name: 'psu.voltage', unit: 'V', role: 'setpoint', axis: 0 }, { name: 'dmm.current', unit: 'mA', role: 'measured' }, { name: 'oven.temp', unit: 'degC', role: 'measured' }];
let made = 0;
/** A scan that this test executes: `points(from, count)` measures, `end(state)` ends it. */
async function scan({ columns = COLUMNS, points_total = 5_000, period_s = 0.05 } = {}) {
  const id = `T${Date.now() % 1e6}_${made += 1}`;
  await box.post('/api/scans', { scan_id: id, name: `Scan ${id}`, executor: 'external', points_total, columns, lease_s: 60 });
  const row = (i) => ({ 'psu.voltage': i / 10, 'dmm.current': Math.sin(i / 20), 'oven.temp': 20 + (i % 7) });
  let next = 0;
  const it = {
    id, row,
    points: async (count, data = row) => {
      for (let from = next; from < next + count; from += 1_000) {
        const rows = Array.from({ length: Math.min(1_000, next + count - from) }, (_, k) => ({ measurement: 'main', sequence_index: from + k, t_rel: (from + k) * period_s, data: data(from + k) }));
        await box.post(`/api/scans/${id}/data`, rows);
      }
      next += count;
    },
    end: (state = 'completed', more = {}) => box.post(`/api/scans/${id}/control`, { state, ...more }),
    /** A point every 50 ms until stopped. */
    run: () => {
      let busy = false;
      const timer = setInterval(async () => {
        if (busy) return;
        busy = true;
        await it.points(1).catch(() => {});
        busy = false;
      }, 50);
      return () => clearInterval(timer);
    },
    count: () => next,
  };
  return it;
}

/** What the chart draws: [x, y, ...] without gaps' rows. */
const drawn = (page) => page.evaluate(() => document.querySelector('live-chart').columns.map((c) => [...c]));
const drawn_count = (page) => page.evaluate(() => {
  const x = document.querySelector('live-chart')?.columns?.[0] ?? [];
  return [...x].filter((v) => !Number.isNaN(v)).length;
});

test('points live: counter, elapsed, chart over the set-point, table of the newest, words for who sees no chart', { skip }, async () => {
  const own = await scan({ points_total: 40 });
  const it = await show(`scan/${own.id}`);
  const { page } = it;
  await page.waitForSelector('#card-chart [data-empty="none"]');
  await own.points(10);
  await until('ten points', async () => (await drawn_count(page)) === 10);
  await page.waitForFunction(() => /10 of 40 points/.test(document.querySelector('[data-points]').textContent));
  assert.equal(await page.inputValue('[data-choice="x"]'), 'psu.voltage');
  assert.deepEqual((await drawn(page))[0].map((v) => v.toFixed(1)), Array.from({ length: 10 }, (_, i) => (i / 10).toFixed(1)));
  assert.equal(await page.getAttribute('[data-index]', 'data-index'), '9');
  await own.points(10);
  await until('twenty points', async () => (await drawn_count(page)) === 20);
  await page.waitForFunction(() => /dmm\.current: 20 values from .* mA to .* mA/.test(document.querySelector('.chart-plot').getAttribute('aria-label')));
  assert.match(await page.getAttribute('.chart-plot', 'aria-label'), /^Scan T\d+_\d+\. Over psu\.voltage \(V\)\./);
  const first = await page.innerText('#card-scan .facts');
  await until('the time to go on', async () => (await page.innerText('#card-scan .facts')) !== first);
  // Another axis, other curves.
  await page.selectOption('[data-choice="x"]', 't_rel');
  await until('over time', async () => Math.abs((await drawn(page))[0][19] - 19 / 20) < 1e-9);
  await page.click('[data-choice="y"] > summary');
  await page.uncheck('[data-choice="y"] input[value="oven.temp"]');
  await until('one curve', async () => (await drawn(page)).length === 2);
  await own.end();
  await page.locator('#card-scan .state-word', { hasText: 'Completed' }).waitFor();
  await until('the whole, as stored', async () => /whole: 20 points/.test(await page.innerText('#card-chart .card-summary')));
  await it.clean();
});

test('opened late: what was measured before is there; with the files to take away', { skip }, async () => {
  const own = await scan();
  await own.points(250);
  const it = await show(`scan/${own.id}`);
  const { page } = it;
  await until('250 points', async () => (await drawn_count(page)) === 250);
  await own.points(5);
  await until('255 points', async () => (await drawn_count(page)) === 255);
  for (const kind of ['csv', 'json', 'ndjson']) {
    const answer = await fetch(await page.getAttribute(`[data-file="${kind}"]`, 'href'));
    assert.equal(answer.status, 200, kind);
    const text = await answer.text();
    assert.ok(text.includes('dmm.current') && text.length > 2_000, kind);
  }
  await it.clean();
});

test('a stream that is cut for 5 s at 20 points a second: the chart has every point', { skip }, async () => {
  const own = await scan();
  await own.points(20);
  const between = await proxy(() => ({ host: '127.0.0.1', port: box.port }));
  const stop = own.run();
  try {
    const it = await show(`scan/${own.id}`, { url: between.url });
    const { page } = it;
    await page.selectOption('[data-choice="x"]', 'index');
    await until('points', async () => (await drawn_count(page)) > 30);
    between.break('refuse');
    await conn(page, 'reconnecting');
    const at = await drawn_count(page);
    const measured = own.count();
    await until('5 s of points', () => own.count() >= measured + 100);
    between.heal();
    await conn(page, 'live');
    await until('what was missed', async () => (await drawn_count(page)) >= at + 90);
    const [x] = await drawn(page);
    assert.deepEqual(x.filter((v) => Number.isNaN(v)), [], 'no gap');
    assert.deepEqual(x, Array.from({ length: x.length }, (_, i) => i), 'every point, once, in order');
  } finally {
    stop();
    between.close();
  }
});

test('a hole in what came is filled from what is stored', { skip }, async () => {
  const own = await scan();
  await own.points(20);
  const it = await show(`scan/${own.id}`);
  const { page } = it;
  await until('20 points', async () => (await drawn_count(page)) === 20);
  // Events that never reach the page.
  await page.evaluate(async (id) => {
    const { app } = await import(new URL('js/app.js', location.href).href);
    const take = app.store.take.bind(app.store);
    const lost = (i) => i.is === 'event' && i.envelope.type.startsWith('data_') && i.envelope.payload.scan_id === id && globalThis.deaf;
    app.store.take = (items) => {
      globalThis.unheard += items.filter(lost).length;
      return take(items.filter((i) => !lost(i)));
    };
    Object.assign(globalThis, { deaf: true, unheard: 0 });
  }, own.id);
  await own.points(30);
  await page.waitForFunction(() => globalThis.unheard > 0);
  assert.equal(await drawn_count(page), 20);
  await page.evaluate(() => { globalThis.deaf = false; });
  await own.points(1);
  await until('all of them', async () => (await drawn_count(page)) === 51);
});

test('gaps are drawn as gaps, and said', { skip }, async () => {
  const own = await scan();
  await own.points(60, (i) => ({ ...own.row(i), 'dmm.current': i >= 20 && i < 40 ? null : 1, 'oven.temp': null }));
  const it = await show(`scan/${own.id}`);
  const { page } = it;
  await until('60 points', async () => (await drawn_count(page)) === 60);
  await page.waitForFunction(() => /1 gap\./.test(document.querySelector('.chart-plot').getAttribute('aria-label')));
  // The line is on the left and on the right of the plot, and not in between.
  const ink = await page.evaluate(() => {
    const chart = document.querySelector('live-chart');
    const { ctx, bbox } = chart.plot;
    const wanted = chart.colours['--busy'].match(/\w\w/g).map((h) => parseInt(h, 16));
    const { data, width } = ctx.getImageData(bbox.left, bbox.top, bbox.width, bbox.height);
    const at = (share) => {
      const from = Math.round(width * share);
      let n = 0;
      for (let i = 0; i < data.length; i += 4) if (Math.abs(((i / 4) % width) - from) < width * 0.02 && wanted.every((c, k) => Math.abs(data[i + k] - c) < 12)) n += 1;
      return n;
    };
    return [0.15, 0.45, 0.55, 0.85].map(at);
  });
  assert.ok(ink[0] > 0 && ink[3] > 0, String(ink));
  assert.deepEqual(ink.slice(1, 3), [0, 0]);
  await it.clean();
});

test('10,000 points: the newest 1,000 are shown, the heap stays flat', { skip }, async () => {
  const own = await scan({ points_total: 20_000 });
  await own.points(1_500);
  const it = await show(`scan/${own.id}`);
  const { page } = it;
  await until('1,000 points', async () => (await drawn_count(page)) === 1_000);
  await own.points(2_000);
  const heap = await heap_of(it);
  await until('the newest', async () => (await drawn(page))[0].at(-1) === 3_499 / 10);
  const before = await heap();
  for (let i = 0; i < 10; i += 1) await own.points(1_000);
  await until('the newest of 13,500', async () => (await drawn(page))[0].at(-1) === 13_499 / 10);
  assert.equal(await drawn_count(page), 1_000);
  const grown = (await heap()) - before;
  assert.ok(grown < 1_000_000, `${grown} bytes more`);
  assert.deepEqual(await page.evaluate(() => document.querySelector('live-chart').columns.map((c) => [c.constructor.name, c.buffer.byteLength])), Array(3).fill(['Float64Array', 16_000]));
  // The whole on request, by the daemon's summary of it.
  await page.click('[data-choice="whole"]');
  await until('the whole', async () => { const [x] = await drawn(page); return x[0] === 0 && x.length <= 2_500 && x.at(-1) > 1_300; });
  assert.match(await page.innerText('#card-chart .card-summary'), /whole: 13,500 points/);
  await it.clean();
});

test('the scale: automatic, or held', { skip }, async () => {
  const own = await scan();
  await own.points(20);
  const it = await show(`scan/${own.id}`);
  const { page } = it;
  await until('20 points', async () => (await drawn_count(page)) === 20);
  const top = () => page.evaluate(() => document.querySelector('live-chart').plot.scales.y0.max);
  const first = await top();
  await page.click('[data-chart="lock"]');
  await own.points(5, (i) => ({ ...own.row(i), 'dmm.current': 50 }));
  await until('25 points', async () => (await drawn_count(page)) === 25);
  assert.equal(await top(), first);
  await page.click('[data-chart="unlock"]');
  await until('the scale to follow', async () => (await top()) > 50);
  await it.clean();
});

test('what an operator has to confirm stands above everything; confirming resumes', { skip }, async () => {
  const own = await scan();
  const it = await show(`scan/${own.id}`);
  const { page } = it;
  await page.waitForSelector('#card-scan .state-word');
  await page.evaluate(async (id) => {
    const { app } = await import(new URL('js/app.js', location.href).href);
    const before = app.store.slices.scans.get(id).payload;
    app.store.take([{ is: 'event', envelope: { type: 'scan_status', id: '9999999999-1', topic: `scan/${id}`, payload: { ...before, status: 'paused', prompt: 'Open the <b>valve</b>', allowed_actions: ['resume', 'stop', 'abort'], revision: before.revision + 1 } } }]);
  }, own.id);
  await page.waitForSelector('[data-prompt]');
  assert.match(await page.innerText('[data-prompt]'), /waits for you[\s\S]*Open the <b>valve<\/b>/);
  let path = null;
  await page.route(`**/api/scans/${own.id}/*`, (route) => {
    if (route.request().method() !== 'POST') return route.continue();
    path = route.request().url();
    return route.fulfill({ status: 202, contentType: 'application/json', body: '{"state":"accepted"}' });
  });
  await page.click('[data-command="confirm"]');
  await page.locator('[data-command="confirm"]', { hasText: 'Confirming' }).waitFor();
  assert.match(path, /\/resume$/);
});

test('pending until the program says it; an end with its reason; run again only where there is a queue', { skip }, async () => {
  const own = await scan();
  await own.points(5);
  const it = await show(`scan/${own.id}`);
  const { page } = it;
  await page.waitForFunction(() => document.querySelector('[data-command="pause"]')?.getAttribute('aria-disabled') === 'false');
  await page.click('[data-command="pause"]');
  await page.locator('[data-command="pause"]', { hasText: 'Pausing' }).waitFor();
  await page.waitForSelector('#card-scan [data-pending="pause"]');
  assert.equal(await page.innerText('#card-scan .state-word'), 'Running', 'asked is not done');
  await own.end('paused');
  await page.locator('#card-scan .state-word', { hasText: 'Paused' }).waitFor();
  await own.end('failed', { error: 'the <i>stage</i> is stuck' });
  await page.locator('#card-scan .state-word', { hasText: 'Failed' }).waitFor();
  assert.match(await page.innerText('#card-scan [data-error]'), /the <i>stage<\/i> is stuck/);
  assert.match(await page.getAttribute('[data-ask="requeue"]', 'title'), /no queue/);
  await page.click('[data-ask="remove"]');
  await page.click('dialog [data-confirm]');
  await page.waitForSelector('main[data-page="scans"]');
  assert.equal((await fetch(`${box.url}/api/scans/${own.id}`)).status, 404);
});

test('an abort that takes long can be forced, in two steps that say what is left out', { skip }, async () => {
  const own = await scan();
  await own.points(5);
  const it = await show(`scan/${own.id}`);
  const { page } = it;
  await page.waitForFunction(() => document.querySelector('[data-command="abort"]')?.getAttribute('aria-disabled') === 'false');
  assert.equal(await page.locator('[data-command="abort_now"]').count(), 0, 'there is nothing to cut short yet');
  await page.click('[data-command="abort"]');
  await page.click('dialog [data-confirm]');
  // The program that runs it does not answer.
  await page.waitForSelector('#card-scan [data-pending="abort"]');
  const sent = [];
  page.on('request', (request) => { if (request.url().endsWith('/abort')) sent.push(request.postDataJSON()); });
  await page.click('[data-command="abort_now"]');
  await page.waitForSelector('dialog:has-text("clean-up of the scan is left out")');
  assert.deepEqual(sent, []);
  await page.click('dialog [data-confirm]');
  await page.locator('#card-scan .state-word', { hasText: 'Aborted' }).waitFor();
  assert.deepEqual(sent.map((body) => body.force), [true]);
  await it.clean();
});

test('playback: a banner that stays, no command, pause, another speed, the end', { skip }, async () => {
  const own = await scan({ points_total: 100, period_s: 0.5 });
  await own.points(100);
  await own.end();
  const it = await show(`scan/${own.id}`);
  const { page } = it;
  await until('the whole', async () => (await drawn_count(page)) === 100);
  await page.click('[data-replay="play"]');
  await page.waitForSelector('.replay');
  assert.match(await page.innerText('.replay'), /Playback[\s\S]*not live/);
  for (const button of await page.$$('#card-scan [data-command], #card-scan [data-ask]')) {
    assert.equal(await button.getAttribute('aria-disabled'), 'true');
    assert.match(await button.getAttribute('title'), /playback/);
  }
  assert.equal(await page.locator('.replay [role="status"]').count(), 1, 'its words alone are read out');
  assert.equal(await page.getAttribute('.replay', 'role'), null);
  await until('some points', async () => { const n = await drawn_count(page); return n > 3 && n < 100; });
  await page.click('[data-replay="pause"]');
  await page.waitForSelector('.replay[data-stage="paused"]');
  const at = await drawn_count(page);
  // At this speed a point comes every 50 ms: fourteen do not.
  await new Promise((ok) => setTimeout(ok, 700));
  assert.equal(await drawn_count(page), at);
  // In sight wherever the page is scrolled to.
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  assert.ok(await page.evaluate(() => { const b = document.querySelector('.replay').getBoundingClientRect(); return b.top >= 0 && b.bottom <= innerHeight; }));
  await page.selectOption('[data-replay="rate"]', '100');
  await page.click('[data-replay="go"]');
  await page.waitForSelector('.replay[data-stage="finished"]');
  assert.equal(await drawn_count(page), 100);
  const [x] = await drawn(page);
  assert.ok(x.every((v, i) => Math.abs(v - i / 10) < 1e-9), 'every point, once');
  await page.click('[data-replay="stop"]');
  await page.waitForSelector('.replay', { state: 'detached' });
  await it.clean();
});

test('a scan that does not exist', { skip }, async () => {
  const it = await show('scan/NOBODY');
  await it.page.waitForSelector('[data-empty="unknown"]');
  await visit(it.page, 'queue/NOBODY');
  await it.page.waitForSelector('[data-empty="unknown"]');
  await visit(it.page, 'instrument/NOBODY');
  await it.page.waitForSelector('[data-empty="unknown"]');
});

test('four scans at once in four tabs: each has its own points', { skip }, async () => {
  const own = await Promise.all([scan(), scan(), scan(), scan()]);
  const first = await show(`scan/${own[0].id}`);
  const pages = [first.page];
  for (const one of own.slice(1)) {
    const page = await first.context.newPage();
    await page.goto(`${box.url}/#/scan/${one.id}`);
    pages.push(page);
  }
  for (let round = 0; round < 5; round += 1) for (const [i, one] of own.entries()) await one.points(10 + i);
  for (const [i, page] of pages.entries()) await until(`the points of ${i}`, async () => (await drawn_count(page)) === 5 * (10 + i));
});

test('a scan whose daemon is away: no confident none, and its points once it is back', { skip }, async () => {
  const own = await scan();
  await own.points(30);
  const it = await show('scan/NOBODY');
  const { page } = it;
  await page.waitForSelector('[data-empty="unknown"]');
  await until('the scan to be known', () => page.evaluate(async (id) => (await import(new URL('js/app.js', location.href).href)).app.store.slices.scans.has(id), own.id));
  await box.kill();
  await conn(page, 'reconnecting');
  await page.evaluate((id) => { location.hash = `#/scan/${id}`; }, own.id);
  await page.waitForSelector('#card-chart [data-empty="error"] button');
  await page.waitForSelector('#card-points [data-empty="error"]');
  await box.start();
  await conn(page, 'live');
  await until('its points', async () => (await drawn_count(page)) === 30);
});
