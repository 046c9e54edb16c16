// The page of signals against the real daemon: pausing is not freezing, what is in view is counted right, resetting takes
// two steps.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PHONE, skip, stage, until } from './harness.mjs';

const CONFIG = 'name = "telltale"\n\n[signals]\ngenerate = ["alpha", "beta", "calm"]\nlive = true\ninterval_s = 1\nbatch_size = 100\nallow_reset = true\n';
const { box, show } = stage({ config: CONFIG }, {
  ready: async () => {
    await box.post('/api/signals/calm/live', { on: false });
    await until('calm to be paused', async () => (await box.get('/api/signals/calm')).live === false);
  },
});

async function signals({ path = 'signals/alpha', ...options } = {}) {
  const it = await show(path, options);
  await it.page.waitForSelector('#card-signal-state .streaming');
  return it;
}
const status = (id) => box.get(`/api/signals/${id}`);
const number = async (page, at) => Number((await page.innerText(at)).replace(/[^\d.-]/g, ''));
const total = (page) => number(page, '[data-total]');
const in_view = async (page) => Number(await page.getAttribute('[data-in-view]', 'data-in-view'));
const words = (page) => page.getAttribute('.chart-plot', 'aria-label');

test('samples come in: totals, age, table and chart move in place', { skip }, async () => {
  const it = await signals();
  const { page } = it;
  await page.waitForSelector('live-chart canvas');
  await page.waitForSelector('#card-signal-latest tbody tr:nth-child(12)');
  await page.evaluate(() => {
    globalThis.row = document.querySelector('#card-signal-latest tbody tr');
    globalThis.canvas = document.querySelector('live-chart canvas');
  });
  const first = [await total(page), await page.innerText('#card-signal-latest tbody th')];
  await until('more samples', async () => (await total(page)) >= first[0] + 300);
  assert.notEqual(await page.innerText('#card-signal-latest tbody th'), first[1]);
  assert.ok(await page.evaluate(() => globalThis.row.isConnected && globalThis.canvas.isConnected), 'nothing is made anew');
  assert.match(await page.innerText('.streaming'), /Streaming/);
  assert.match(await page.innerText('[data-updated]'), /Updated: (now|\d+ s)/);
  assert.equal(await page.innerText('[data-seed]'), String((await status('alpha')).seed));
  await it.clean();
});

test('pausing is the box\'s, shown by its state; one batch is for when it is paused; nothing is lost', { skip }, async () => {
  const it = await signals({ path: 'signals/beta' });
  const { page } = it;
  await page.waitForSelector('[data-command="live"][aria-pressed="true"]');
  assert.equal(await page.getAttribute('[data-command="batch"]', 'aria-disabled'), 'true');
  await page.click('[data-command="live"]');
  await page.waitForSelector('.streaming[data-live="false"]');
  assert.equal((await status('beta')).live, false);
  assert.equal(await page.getAttribute('[data-command="live"]', 'aria-pressed'), 'false');
  const paused = await total(page);
  await page.fill('#signal-batch_size', '7');
  await page.click('[data-command="batch"]');
  await until('the batch', async () => (await total(page)) === paused + 7);
  await page.fill('#signal-interval_s', '99');
  await page.waitForSelector('#signal-interval_s[aria-invalid="true"]');
  assert.equal(await page.getAttribute('[data-command="live"]', 'aria-disabled'), 'true', 'what the daemon would refuse is not sent');
  await page.fill('#signal-interval_s', '3');
  await page.click('[data-command="live"]');
  await page.waitForSelector('.streaming[data-live="true"]');
  const now = await status('beta');
  assert.deepEqual([now.live, now.interval_s, now.batch_size], [true, 3, 7]);
  const page_one = await box.get(`/api/signals/beta/events?limit=20`);
  assert.deepEqual(page_one.events.slice(1).map((e, i) => e.seq - page_one.events[i].seq).filter((n) => n !== 1), [], 'no number is missing');
  // Somebody else pauses: the page shows it.
  await box.post('/api/signals/beta/live', { on: false });
  await page.waitForSelector('.streaming[data-live="false"]');
  await it.clean();
});

test('freezing keeps the chart, not the acquisition', { skip }, async () => {
  const it = await signals();
  const { page } = it;
  await page.waitForSelector('live-chart canvas');
  await page.click('[data-view="freeze"]');
  await page.waitForSelector('#card-signal-chart .note:has-text("acquisition goes on")');
  const frozen = [await words(page), await in_view(page), await total(page)];
  await until('more samples', async () => (await total(page)) >= frozen[2] + 300);
  assert.equal((await status('alpha')).live, true);
  assert.match(await page.innerText('#card-signal-chart .note'), /[1-9]\d* newer samples/);
  assert.deepEqual([await words(page), await in_view(page)], frozen.slice(0, 2), 'the chart is as it was');
  await page.click('[data-view="freeze"]');
  await page.waitForSelector('#card-signal-chart .note', { state: 'detached' });
  await until('the chart to go on', async () => (await words(page)) !== frozen[0]);
  await it.clean();
});

test('anomalies in view are those that the daemon has, one by one and condensed', { skip }, async () => {
  // Known to the sample: 6,000 of them over ten minutes, with five spikes.
  const begin = Date.now() - 600_000;
  for (let batch = 0; batch < 60; batch += 1) {
    const events = Array.from({ length: 100 }, (_, i) => {
      const n = batch * 100 + i;
      return { t: new Date(begin + n * 100).toISOString(), value: [700, 1_900, 1_901, 4_000, 5_950].includes(n) ? 80 : Math.sin(n) };
    });
    await box.post('/api/signals/known', { events });
  }
  const all = await box.get('/api/signals/known/events?points=1000');
  assert.ok(all.anomalies >= 4 && all.samples === 6_000 && all.method === 'minmax', JSON.stringify({ ...all, events: 0 }));
  const it = await signals({ path: 'signals/known' });
  const { page } = it;
  await page.selectOption('[data-view="pad"]', '0');
  await page.selectOption('[data-view="window"]', '900');
  await until('all of them', async () => (await in_view(page)) === all.anomalies);
  assert.match(await page.innerText('#card-signal-chart .card-summary'), /6,000 samples/);
  await page.waitForSelector('.chart-note:has-text("condensed")');
  await page.selectOption('[data-view="window"]', '30');
  const newest = Date.parse(all.events.at(-1).t);
  const near = await box.get(`/api/signals/known/events?from=${new Date(newest - 30_000).toISOString()}&points=4000`);
  await until('the last half minute', async () => (await in_view(page)) === near.anomalies && new RegExp(`${near.samples} samples`).test(await page.innerText('#card-signal-chart .card-summary')));
  assert.ok(near.method === 'raw' && near.anomalies >= 1);
  // Back to where nothing is odd, in the middle, and to the newest again.
  await page.click('[data-view="back"]');
  await page.click('[data-view="back"]');
  await until('an earlier part', async () => (await in_view(page)) === 0 && /30\d samples/.test(await page.innerText('#card-signal-chart .card-summary')));
  assert.equal(await page.getAttribute('[data-view="follow"]', 'aria-pressed'), 'false');
  await page.click('[data-view="recentre"]');
  await until('half of it free', async () => /15\d samples/.test(await page.innerText('#card-signal-chart .card-summary')));
  await page.click('[data-view="follow"]');
  await until('the newest', async () => (await in_view(page)) === near.anomalies);
  // Real samples from outside use the same page; what generates has no controls here.
  assert.match(await page.innerText('#card-signal-state'), /Posted from outside/);
  assert.equal(await page.locator('[data-command="live"]').count(), 0);
  await box.post('/api/signals/known', { events: [{ value: 90 }] });
  await page.waitForSelector('#card-signal-latest tr[data-anomaly]:has-text("Anomaly")');
  await it.clean();
});

test('what is typed stays while samples come; settings change how the next are judged', { skip }, async () => {
  const it = await signals();
  const { page } = it;
  await page.click('#signal-threshold');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('2.');
  const before = await total(page);
  await until('more samples', async () => (await total(page)) >= before + 300);
  assert.equal(await page.inputValue('#signal-threshold'), '2.');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'signal-threshold');
  await page.keyboard.type('5');
  await page.click('#card-signal-settings [data-command="settings"]');
  await until('the daemon', async () => (await status('alpha')).threshold === 2.5);
  await until('more anomalies', async () => (await status('alpha')).anomalies > 3);
  await it.clean();
});

test('signals are chosen by source; an address leads to one; none matches says so', { skip }, async () => {
  await box.post('/api/signals/probe', { events: [1, 2, 3] });
  const it = await signals({ path: 'signals/alpha' });
  const { page } = it;
  await page.waitForSelector('[data-signal="probe"]');
  await page.selectOption('[data-filter="source"]', 'outside');
  await page.waitForSelector('[data-signal="alpha"]', { state: 'detached' });
  await page.click('[data-signal="probe"]');
  await page.waitForSelector('#card-signal-chart h2:has-text("probe")');
  await until('its samples', async () => (await total(page)) === 3);
  await page.evaluate(() => { location.hash = '#/signals/calm'; });
  await page.selectOption('[data-filter="source"]', 'generated');
  await page.waitForSelector('#card-signal-chart h2:has-text("calm")');
  await it.clean();
});

test('resetting takes two steps that name the loss; the first sends nothing', { skip }, async () => {
  const it = await signals({ path: 'signals/calm' });
  const { page } = it;
  const had = await total(page);
  await page.click('[data-command="batch"]');
  await until('a batch', async () => (await total(page)) > had);
  const samples = await total(page);
  const sent = [];
  page.on('request', (request) => { if (request.url().endsWith('/reset')) sent.push(request.url()); });
  await page.click('[data-command="reset"]');
  await page.waitForSelector(`dialog:has-text("${samples} samples will no longer be shown")`);
  assert.deepEqual(sent, []);
  await page.click('dialog button:has-text("Cancel")');
  await page.waitForSelector('dialog', { state: 'detached' });
  assert.deepEqual([sent, (await status('calm')).total_events], [[], samples]);
  await page.click('[data-command="reset"]');
  await page.click('dialog [data-confirm]');
  await until('none left', async () => (await total(page)) === 0 && sent.length === 1);
  await page.waitForSelector('#card-signal-chart [data-empty="none"]:has-text("No sample yet")');
  await page.waitForSelector('#card-signal-latest [data-empty]');
  assert.equal((await box.get('/api/signals/calm/events?points=100')).samples, 0);
  await it.clean();
});

test('an answer that fails is told in its card, with another try', { skip }, async () => {
  const it = await signals({ path: 'signals/calm', lossy: true });
  const { page } = it;
  await page.route('**/api/signals/beta/events*', (route) => route.fulfill({ status: 503, contentType: 'application/problem+json', body: '{"type":"store","title":"x","status":503,"detail":"the store does not answer"}' }));
  await box.post('/api/signals/beta/live', { on: false });
  await page.evaluate(() => { location.hash = '#/signals/beta'; });
  await page.waitForSelector('#card-signal-chart [data-empty="error"]:has-text("the store does not answer")');
  await page.waitForSelector('#card-signal-state .streaming');
  await page.unroute('**/api/signals/beta/events*');
  await page.click('#card-signal-chart [data-empty="error"] button');
  await page.waitForSelector('#card-signal-chart live-chart canvas');
  await page.waitForSelector('#card-signal-latest tbody tr:nth-child(12)');
  await it.clean();
});

test('a phone: nothing beyond the edge, everything large enough', { skip }, async () => {
  const it = await signals({ device: { ...PHONE, viewport: { width: 320, height: 700 } } });
  const { page } = it;
  await page.waitForSelector('live-chart canvas');
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
  const small = await page.evaluate(() => [...document.querySelectorAll('main :is(a, button, select, input, summary)')].filter((e) => { const b = e.getBoundingClientRect(); return b.width && (b.height < 44 || b.width < 44); }).map((e) => e.outerHTML.slice(0, 90)));
  assert.deepEqual(small, []);
  await it.clean();
});
