// The pages of queues, scans and instruments against the real daemon and its bench: what can be asked, what is said
// when it is refused, and that nothing is told as done before it is.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DESK, PHONE, skip, stage, until, visit } from './harness.mjs';

const { box, show } = stage({}, { page: { lossy: true }, ready: () => free() });

/** The queue of the bench lets go of its instruments: once it runs it is aborted, and stays paused. */
async function free() {
  const bench = async () => (await box.get('/api/queues')).items?.find((q) => q.queue_id === 'QUEUE_001');
  await until('the queue of the bench to stand', async () => {
    const now = await bench();
    if (now?.status === 'paused') return true;
    if (now?.status === 'running') await fetch(`${box.url}/api/queues/QUEUE_001/abort`, { method: 'POST' });
    return false;
  });
  await until('free instruments', async () => (await box.get('/api/instruments')).items.every((i) => !['psu', 'dmm'].includes(i.instrument_id) || !i.used_by));
}

const request = async (method, path, body) => {
  const answer = await fetch(box.url + path, { method, headers: { 'content-type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  return { status: answer.status, body: await answer.json().catch(() => null) };
};

let made = 0;
/** A queue of our own with so many waiting scans over time, which nobody starts. */
async function queue(scans = 3, more = {}) {
  const queue_id = `own${made += 1}`;
  await box.post('/api/queues', { queue_id, name: `Queue ${queue_id}`, ...more });
  const ids = [];
  for (let i = 0; i < scans; i += 1) {
    const { items } = await box.post(`/api/queues/${queue_id}/scans`, { name: `scan ${i}`, measure: ['dmm.voltage'], count: 400, interval_s: 0.1 });
    ids.push(items[0].scan_id);
  }
  return { id: queue_id, ids, order: async () => (await box.get(`/api/queues/${queue_id}`)).order ?? [] };
}

/** The daemon's answer to a command that never ends. */
const accept = (route) => route.fulfill({ status: 202, contentType: 'application/json', body: JSON.stringify({ command_id: route.request().postDataJSON().command_id, state: 'accepted' }) });

const order_shown = (page) => page.$$eval('ol[data-order] > [data-scan]', (rows) => rows.map((r) => r.dataset.scan));

test('from the overview to the queues, and to one of them; the instruments of the bench are there', { skip }, async () => {
  const own = await queue(1);
  const it = await show('');
  const { page } = it;
  await page.click('#card-queues .card-link');
  await page.waitForSelector('main[data-page="queues"] #card-queues');
  await page.click(`#card-queues a[href="#/queue/${own.id}"]`);
  await page.waitForSelector('main[data-page="queue"] .state-word');
  assert.equal(await page.innerText('#card-queue .state-word'), 'Idle');
  assert.equal(await page.getAttribute('nav.nav a[href="#/queues"]', 'aria-current'), 'page');
  await page.click('.tabs a[href="#/instruments"]');
  await page.waitForSelector('#card-instrument-psu .instrument-dot');
  const words = await page.innerText('#card-instrument-dmm');
  assert.match(words, /voltage\s+−?-?[\d.× ⁻⁰¹²³⁴⁵⁶⁷⁸⁹-]+ ?V/);
  await page.click('#card-instrument-psu .card-link');
  await page.waitForSelector('#card-channels [data-channel="voltage"]');
  await it.clean();
});

test('a queue is made in the form, and removed with the loss named', { skip }, async () => {
  const it = await show('queues');
  const { page } = it;
  await page.fill('#card-queue-new input[name="queue-name"]', '<b>Monday</b>');
  await page.selectOption('#card-queue-new select[name="queue-on_failure"]', 'continue');
  await page.check('#card-queue-new input[name="queue-autostart"]');
  await page.click('[data-ask="create"]');
  await page.waitForSelector('main[data-page="queue"] #card-queue .state-word');
  const id = await page.evaluate(() => decodeURIComponent(location.hash.split('/')[2]));
  const { body } = await request('GET', `/api/queues/${id}`);
  assert.deepEqual([body.name, body.on_failure, body.loop, body.autostart], ['<b>Monday</b>', 'continue', false, true]);
  assert.equal(await page.innerText('#card-queue-title'), '<b>Monday</b>', 'text, not markup');
  await page.click('#card-queue-settings summary');
  await page.fill('input[name="queue-name"]', 'Tuesday');
  await page.click('[data-ask="settings"]');
  await page.waitForFunction(() => document.querySelector('#card-queue-title').textContent === 'Tuesday');
  await page.click('[data-ask="delete"]');
  await page.waitForSelector('dialog[open]');
  assert.equal((await request('GET', `/api/queues/${id}`)).status, 200, 'nothing before the second step');
  await page.click('dialog [data-confirm]');
  await page.waitForSelector('main[data-page="queues"]');
  assert.equal((await request('GET', `/api/queues/${id}`)).status, 404);
  await it.clean();
});

test('commands: pending at once, done when the state says so, buttons as the queue allows', { skip }, async () => {
  const own = await queue(2);
  const it = await show(`queue/${own.id}`);
  const { page } = it;
  const button = (action) => page.locator(`#card-queue [data-command="${action}"]`);
  await button('start').waitFor();
  await page.waitForFunction(() => document.querySelector('#card-queue [data-command="start"]').getAttribute('aria-disabled') === 'false');
  assert.equal(await button('resume').getAttribute('aria-disabled'), 'true');
  assert.match(await button('resume').getAttribute('title'), /Not possible while idle/i);
  await button('start').click();
  await page.locator('#card-queue .state-word', { hasText: 'Running' }).waitFor();
  await page.waitForSelector(`ol[data-order] > [data-current][data-scan="${own.ids[0]}"]`);
  assert.equal(await page.locator(`[data-scan="${own.ids[0]}"] [data-way]`).count(), 0, 'the one that runs is not moved');
  // Counted in frames, which a busy machine stretches as it does the page: eight are 130 ms.
  const [frames, phase] = await page.evaluate(async () => {
    const pause = document.querySelector('#card-queue [data-command="pause"]');
    pause.click();
    // A fast scan may be paused, and the command confirmed, before anybody looked.
    const told = () => /Pausing/.test(pause.textContent) || pause.dataset.phase === 'confirmed';
    let frames = 0;
    for (; !told() && frames < 300; frames += 1) await new Promise(requestAnimationFrame);
    return [frames, pause.dataset.phase];
  });
  assert.ok(frames <= 8, `${phase} after ${frames} frames`);
  await page.locator('#card-queue .state-word', { hasText: 'Paused' }).waitFor();
  await page.waitForFunction(() => document.querySelector('#card-queue [data-command="resume"]').getAttribute('aria-disabled') === 'false');
  await page.locator('#card-log .log-row', { hasText: own.ids[0] }).first().waitFor();
  await button('abort').click();
  await page.waitForSelector('dialog[open]');
  assert.match(await page.innerText('dialog'), new RegExp(own.ids[0]));
  await page.click('dialog [data-confirm]');
  await page.locator(`.ended[data-scan="${own.ids[0]}"]`, { hasText: 'Aborted' }).waitFor();
  await it.clean();
});

test('no word for 10 s: no confirmation, and a retry; but what the queue itself reports goes on', { skip }, async () => {
  const own = await queue(1);
  const it = await show(`queue/${own.id}`);
  const { page } = it;
  let sent = 0;
  await page.route(`**/api/queues/${own.id}/start`, (route) => {
    sent += 1;
    return accept(route);
  });
  await page.waitForFunction(() => document.querySelector('#card-queue [data-command="start"]').getAttribute('aria-disabled') === 'false');
  await page.click('#card-queue [data-command="start"]');
  await page.waitForSelector('#card-queue .note[data-tone="warn"] [data-retry]', { timeout: 20_000 });
  assert.match(await page.innerText('#card-queue .note[data-tone="warn"]'), /Start: No confirmation/);
  await page.click('#card-queue [data-retry]');
  await until('the retry', () => sent === 2);
  // A state that says that it is at it.
  await page.evaluate(async (id) => {
    const { app } = await import(new URL('js/app.js', location.href).href);
    const before = app.store.slices.queues.get(id).payload;
    globalThis.held = setInterval(() => app.store.take([{ is: 'event', envelope: { type: 'queue_status', id: `9999999999-${Math.floor(performance.now() * 10)}`, topic: `queue/${id}`, payload: { ...before, status: 'running', pending: 'pause', allowed_actions: ['resume', 'abort'], timestamp: new Date().toISOString() } } }]), 100);
  }, own.id);
  await page.waitForFunction(() => /Pausing/.test(document.querySelector('#card-queue [data-command="pause"]').textContent));
  assert.equal(await page.getAttribute('#card-queue [data-pending]', 'data-pending'), 'pause');
  assert.equal(await page.getAttribute('#card-queue [data-command="resume"]', 'aria-disabled'), 'false', 'it can be taken back');
  await page.evaluate(() => clearInterval(globalThis.held));
});

test('the order: by keyboard, the focus stays with the row; who comes too late is told what it is now', { skip }, async () => {
  const own = await queue(4);
  const it = await show(`queue/${own.id}`);
  const { page } = it;
  await page.waitForFunction((n) => document.querySelectorAll('ol[data-order] > [data-scan]').length === n, 4);
  const [a, b, c, d] = own.ids;
  const press = async (id, way, expected) => {
    await page.focus(`[data-scan="${id}"] [data-way="${way}"]`);
    await page.keyboard.press('Enter');
    await until(`the order ${expected}`, async () => String(await order_shown(page)) === String(expected));
    await page.waitForFunction((scan) => document.activeElement?.closest('[data-scan]')?.dataset.scan === scan, id);
  };
  await press(d, 'up', [a, b, d, c]);
  await press(a, 'down', [b, a, d, c]);
  await press(c, 'front', [c, b, a, d]);
  assert.deepEqual(await own.order(), [c, b, a, d]);
  assert.deepEqual(await page.$eval(`[data-scan="${c}"] [data-way="up"]`, (b) => [b.getAttribute('aria-disabled'), b.title]), ['true', 'It stands there already']);

  // Somebody else is faster.
  await page.route(`**/api/queues/${own.id}/move`, async (route) => {
    const { order_version } = await box.get(`/api/queues/${own.id}`);
    await request('POST', `/api/queues/${own.id}/move`, { scan_id: d, position: 0, order_version });
    return route.continue();
  }, { times: 1 });
  await page.click(`[data-scan="${a}"] [data-way="up"]`);
  const note = page.locator('[data-asked="move"]');
  await note.waitFor();
  assert.match(await note.innerText(), new RegExp(`${a} was not moved: the order was changed.*It is now ${d}, ${c}`));
  await until('the order of the other', async () => String(await order_shown(page)) === String([d, c, b, a]));
});

test('what waits is taken out after a second step; what has ended is run again', { skip }, async () => {
  const own = await queue(2);
  const it = await show(`queue/${own.id}`);
  const { page } = it;
  await page.click(`[data-ask="remove-${own.ids[1]}"]`);
  await page.waitForSelector('dialog[open]');
  assert.match(await page.innerText('dialog'), new RegExp(own.ids[1]));
  await page.click('dialog [data-confirm]');
  await page.waitForFunction((id) => !document.querySelector(`ol[data-order] > [data-scan="${id}"]`), own.ids[1]);
  await request('POST', `/api/scans/${own.ids[0]}/abort`, {});
  await page.locator(`.ended[data-scan="${own.ids[0]}"]`).waitFor();
  await page.click(`[data-ask="requeue-${own.ids[0]}"]`);
  await page.waitForFunction((ids) => [...document.querySelectorAll('ol[data-order] > [data-scan]')].some((r) => !ids.includes(r.dataset.scan)), own.ids);
  await it.clean();
});

test('a scan from the form: faults at their fields, count and time, then in the queue', { skip }, async () => {
  const own = await queue(0);
  const it = await show(`queue/${own.id}`);
  const { page } = it;
  const checks = [];
  page.on('request', (r) => r.url().endsWith('/api/scans/validate') && checks.push(r.postDataJSON()));
  await page.waitForSelector('#axis-0-set option[value="psu.voltage"]', { state: 'attached' });
  await page.fill('#scan-name', 'IV');
  await page.selectOption('#axis-0-set', 'psu.voltage');
  const limits = await page.innerText('[data-limits]');
  assert.match(limits, /^0 to [\d.]+ V$/);
  await page.fill('#axis-0-start', '0');
  await page.fill('#axis-0-stop', '1000');
  await page.locator('.field-fault[data-field="axes[0].stop"]').waitFor();
  assert.match(await page.innerText('#axis-0-stop-faults'), /Outside the limits: 0/);
  assert.equal(await page.getAttribute('#axis-0-stop', 'aria-invalid'), 'true');
  assert.equal(await page.getAttribute('[data-ask="add"]', 'aria-disabled'), 'true');
  await page.fill('#axis-0-stop', '1');
  await page.fill('#axis-0-points', '11');
  await page.fill('#axis-0-settle_s', '0.1');
  // What only the daemon knows: nothing is measured yet.
  await page.waitForFunction(() => document.querySelector('#scan-measure-faults .field-fault'));
  await page.check('input[name="measure"][value="dmm.voltage"]');
  await page.waitForFunction(() => /11 points, about/.test(document.querySelector('[data-sum]').textContent));
  assert.ok(checks.length >= 2 && checks.at(-1).description.axes[0].points === 11);
  assert.match(await page.innerText('#card-scan-add'), /One step is 0\.1/);
  await page.click('[data-ask="add"]');
  await page.locator('[data-asked="add"][data-tone="good"]').waitFor();
  await until('the scan in the order', async () => (await order_shown(page)).length === 1);
  const [id] = await own.order();
  const { body } = await request('GET', `/api/scans/${id}`);
  assert.equal(body.points_total, 11);
  assert.equal(await page.inputValue('#axis-0-points'), '11', 'what was typed stays');
  await it.clean();
});

test('as text: no JSON is said with its line; several at once; a template is kept, used and forgotten', { skip }, async () => {
  const own = await queue(0);
  const it = await show(`queue/${own.id}`);
  const { page } = it;
  await page.click('[data-way="text"]');
  await page.fill('#scan-text', '{\n "measure": [');
  await page.waitForFunction(() => /No JSON/.test(document.querySelector('#scan-text-faults').textContent));
  assert.equal(await page.getAttribute('[data-ask="add"]', 'aria-disabled'), 'true');
  await page.fill('#scan-text', '{"measure": ["nothing.here"], "count": 3, "interval_s": 0.1}');
  await page.locator('#scan-text-faults [data-field^="measure"]').waitFor();
  await page.fill('#scan-text', '[{"name": "one", "measure": ["dmm.voltage"], "count": 3, "interval_s": 0.1}, {"name": "two", "measure": ["dmm.voltage"], "count": 4, "interval_s": 0.1}]');
  await page.waitForFunction(() => /7 points/.test(document.querySelector('[data-sum]').textContent) && document.querySelector('[data-ask="add"]').getAttribute('aria-disabled') === 'false');
  await page.fill('input[name="template"]', 'Both');
  await page.click('[data-ask="template"]');
  await page.locator('[data-asked="template"][data-tone="good"]').waitFor();
  await page.click('[data-way="templates"]');
  const row = page.locator('[data-template]', { hasText: 'Both' });
  await row.locator('[data-ask^="use-"]').click();
  await until('two scans', async () => (await order_shown(page)).length === 2);
  await row.locator('.button.danger').click();
  await page.click('dialog [data-confirm]');
  await row.waitFor({ state: 'detached' });
  await it.clean();
});

test('a half-typed form survives everything that comes meanwhile', { skip }, async () => {
  const own = await queue(2);
  const it = await show(`queue/${own.id}`);
  const { page } = it;
  await page.waitForSelector('#scan-name');
  await page.click('#scan-name');
  await page.keyboard.type('half', { delay: 30 });
  await request('POST', `/api/queues/${own.id}/start`, {});
  await page.locator('#card-queue .state-word', { hasText: 'Running' }).waitFor();
  const measured = () => page.innerText('ol[data-order] > [data-current] .row-sub');
  for (let i = 0; i < 3; i += 1) {
    const before = await measured();
    await until('another point', async () => (await measured()) !== before);
  }
  await page.keyboard.type(' typed', { delay: 30 });
  assert.equal(await page.inputValue('#scan-name'), 'half typed');
  await request('POST', `/api/queues/${own.id}/abort`, {});
});

test('HTML in names, messages and the log is text', { skip }, async () => {
  const own = await queue(0);
  const bad = '<img src=x onerror="globalThis.hit=1">';
  const { items: [scan] } = await box.post(`/api/queues/${own.id}/scans`, { name: bad, steps: [{ log: bad }], always: [] }).catch(() => box.post(`/api/queues/${own.id}/scans`, { name: bad, measure: ['dmm.voltage'], count: 2, interval_s: 0.1 }));
  await box.post('/api/events', { type: 'queue_log', topic: `queue/${own.id}`, payload: { queue_id: own.id, scan_id: scan.scan_id, level: 'ERROR', message: `${bad}<script>globalThis.hit=2</script>`, timestamp: new Date().toISOString(), source: '<i>x</i>' } });
  const it = await show(`queue/${own.id}`);
  const { page } = it;
  await page.waitForFunction(() => document.querySelector('#card-scans').textContent.includes('<img src=x'));
  await page.locator('#card-log .log-message', { hasText: '<script>' }).waitFor();
  await visit(page, `scan/${scan.scan_id}`);
  await page.waitForFunction(() => document.querySelector('main').textContent.includes('<img src=x'));
  assert.equal(await page.evaluate(() => document.querySelectorAll('main img, main script, main i').length + (globalThis.hit ?? 0)), 0);
  await it.clean();
});

test('a queue is cleared in two steps; what somebody added in the meantime is not lost', { skip }, async () => {
  const own = await queue(3);
  const it = await show(`queue/${own.id}`);
  const { page } = it;
  await page.waitForFunction((n) => document.querySelectorAll('ol[data-order] > [data-scan]').length === n, 3);
  await page.click('[data-ask="clear"]');
  await page.waitForSelector('dialog[open]');
  assert.match(await page.innerText('dialog'), /3 scans are not run/);
  assert.equal((await own.order()).length, 3, 'nothing before the second step');
  await box.post(`/api/queues/${own.id}/scans`, { name: 'late', measure: ['dmm.voltage'], count: 2 });
  await page.click('dialog [data-confirm]');
  await page.waitForSelector('[data-asked="clear"][data-tone="warn"]');
  assert.match(await page.innerText('[data-asked="clear"]'), /Nothing was removed/);
  assert.equal((await own.order()).length, 4);
  await page.waitForFunction((n) => document.querySelectorAll('ol[data-order] > [data-scan]').length === n, 4);
  await page.click('[data-ask="clear"]');
  await page.click('dialog [data-confirm]');
  await page.waitForFunction(() => document.querySelectorAll('ol[data-order] > [data-scan]').length === 0);
  assert.equal((await box.get(`/api/queues/${own.id}`)).total_scans, 0);
  await page.waitForFunction(() => !document.querySelector('[data-ask="clear"]'));
  await page.locator('#card-log .log-row', { hasText: 'was cleared' }).waitFor();
  const file = await (await fetch(await page.getAttribute('[data-log-file]', 'href'))).text();
  assert.match(file, /was created[^]*was cleared/, 'the file has its lines, the oldest first');
  await it.clean();
});

test('the log of a queue: at most 500 rows, by level', { skip }, async () => {
  const own = await queue(0);
  const it = await show(`queue/${own.id}`);
  const { page } = it;
  await page.waitForSelector('#card-log .log-scroll');
  await until('the topic', () => page.evaluate(async (id) => {
    const { app } = await import(new URL('js/app.js', location.href).href);
    app.connection.refresh();
    return app.store.link.topics?.includes(`queue/${id}`);
  }, own.id));
  for (let n = 0; n < 6; n += 1) {
    await box.post('/api/events', Array.from({ length: 100 }, (_, i) => ({ type: 'queue_log', topic: `queue/${own.id}`, payload: { queue_id: own.id, level: i % 10 ? 'DEBUG' : 'WARNING', message: `line ${n * 100 + i}`, timestamp: new Date().toISOString(), source: 'runner' } })));
  }
  await page.locator('#card-log .log-row', { hasText: 'line 599' }).waitFor();
  assert.ok(await page.locator('#card-log .log-row').count() <= 500);
  await page.selectOption('#card-log select', 'WARNING');
  await page.waitForFunction(() => [...document.querySelectorAll('#card-log .log-row')].every((r) => r.dataset.level !== 'DEBUG') && document.querySelector('#card-log .log-row'));
});

test('the list of scans: filters in the address, pages, new ones counted, four empties', { skip }, async () => {
  const own = await queue(3);
  const it = await show(`scans?queue_id=${own.id}`);
  const { page } = it;
  await page.waitForFunction((n) => document.querySelectorAll('tr[data-scan]').length === n, 3);
  await page.fill('input[name="text"]', 'scan 1');
  await page.waitForFunction(() => document.querySelectorAll('tr[data-scan]').length === 1);
  assert.match(await page.evaluate(() => location.hash), /text=scan\+1/);
  await page.fill('input[name="text"]', 'nothing like it');
  await page.waitForSelector('[data-empty="filter"] button');
  await page.click('[data-empty="filter"] button');
  await page.waitForFunction(() => document.querySelectorAll('tr[data-scan]').length >= 3);
  await page.selectOption('select[name="queue_id"]', own.id);
  await page.waitForFunction((n) => document.querySelectorAll('tr[data-scan]').length === n, 3);
  await box.post(`/api/queues/${own.id}/scans`, { name: 'later', measure: ['dmm.voltage'], count: 2, interval_s: 0.1 });
  await page.waitForSelector('[data-fresh="1"]');
  assert.equal(await page.locator('tr[data-scan]').count(), 3, 'no row moves by itself');
  await page.click('[data-fresh]');
  await page.waitForFunction((n) => document.querySelectorAll('tr[data-scan]').length === n, 4);
  await request('POST', `/api/scans/${own.ids[1]}/abort`, {});
  await page.locator(`tr[data-scan="${own.ids[1]}"]`, { hasText: 'Aborted' }).waitFor();
  await page.route('**/api/scans?*', (route) => route.fulfill({ status: 500, contentType: 'application/problem+json', body: '{"detail":"the store is away","status":500}' }));
  await page.selectOption('select[name="status"]', 'failed');
  await page.waitForSelector('#card-scan-list [data-empty="error"]:has-text("the store is away")');
  assert.equal(await page.locator('tr[data-scan]').count(), 0, 'nothing of the filter before');
  await page.unroute('**/api/scans?*');
  await page.click('#card-scan-list [data-empty="error"] button');
  await page.waitForSelector('#card-scan-list [data-empty="filter"]');
});

test('a list of more than a page', { skip }, async () => {
  const own = await queue(0);
  await box.post(`/api/queues/${own.id}/scans`, Array.from({ length: 50 }, (_, i) => ({ name: `many ${i}`, measure: ['dmm.voltage'], count: 1, interval_s: 0.1 })));
  await box.post(`/api/queues/${own.id}/scans`, Array.from({ length: 10 }, (_, i) => ({ name: `more ${i}`, measure: ['dmm.voltage'], count: 1, interval_s: 0.1 })));
  const it = await show(`scans?queue_id=${own.id}`);
  const { page } = it;
  await page.waitForFunction(() => document.querySelectorAll('tr[data-scan]').length === 50);
  assert.match(await page.innerText('[data-total]'), /60 scans/);
  await page.click('[data-page="after"]');
  await page.waitForFunction(() => document.querySelectorAll('tr[data-scan]').length === 10);
  await page.click('[data-page="before"]');
  await page.waitForFunction(() => document.querySelectorAll('tr[data-scan]').length === 50);
  await it.clean();
});

// ---- instruments ----

const say = (id, payload) => box.post(`/api/instruments/${id}/state`, { instrument_name: `Test ${id}`, ...payload });
const axis = (value, target, more = {}) => ({ value, target, unit: 'mm', settable: true, tolerance: 0.01, limits: { control: { low: 0, high: 250 } }, ...more });

test('instruments: a dot and a word, ages, targets, a sign of motion that may stand still', { skip }, async () => {
  await say('st1', { kind: 'movement', status: 'moving', is_moving: true, position: { x: 12 }, target: { x: 15 }, channels: { x: axis(12, 15, { moving: true }) } });
  await say('st2', { status: 'error', error: 'no answer to `VOLT?` within 2 s', channels: {} });
  const it = await show('instruments');
  const { page } = it;
  const card = page.locator('#card-instrument-st1');
  await card.locator('.instrument-dot', { hasText: 'Moving' }).waitFor();
  assert.match(await card.innerText(), /12\.00\s*mm[\s\S]*to 15\.00/);
  const name = () => card.locator('.moves').evaluate((e) => getComputedStyle(e, '::after').animationName);
  assert.equal(await name(), 'moves');
  await page.emulateMedia({ reducedMotion: 'reduce' });
  assert.equal(await name(), 'none');
  assert.match(await page.innerText('#card-instrument-st2'), /Error[\s\S]*no answer to `VOLT\?`/);
  const shapes = await page.$$eval('.instrument-dot', (all) => new Set(all.map((d) => `${d.dataset.status} ${getComputedStyle(d.querySelector('.dot')).borderRadius} ${getComputedStyle(d.querySelector('.dot')).backgroundColor}`)).size);
  assert.ok(shapes >= 2);
  await it.clean();
});

test('move: refused beyond the limits before anything is sent; stop is always there; a target is sent once', { skip }, async () => {
  const state = (more) => say('st3', { kind: 'movement', status: 'idle', position: { x: 12 }, channels: { x: axis(12, null), gate: { text: 'closed', settable: true, words: ['open', 'closed'] } }, settings: { velocity: 2, drive: { gain: 7, name: '<b>d</b>' } }, ...more });
  await state();
  const it = await show('instrument/st3');
  const { page } = it;
  const sent = [];
  await page.route('**/api/instruments/st3/*', (route) => {
    if (route.request().method() !== 'POST') return route.continue();
    sent.push([route.request().url().split('/').at(-1), route.request().postDataJSON()]);
    return accept(route);
  });
  const row = page.locator('[data-set="x"]');
  await row.locator('input').fill('251');
  await row.locator('.field-fault').waitFor();
  assert.match(await row.innerText(), /Outside the limits: 0 to 250 mm/);
  await row.locator('button').click({ force: true });
  await row.locator('input').fill('nearly');
  await page.waitForFunction(() => /Not a number/.test(document.querySelector('[data-set="x"]').textContent));
  assert.equal(sent.length, 0);
  await row.locator('input').fill('15');
  await page.waitForFunction(() => document.querySelector('[data-set="x"] button').getAttribute('aria-disabled') === 'false');
  await row.locator('button').click();
  await row.locator('button', { hasText: 'Moving' }).waitFor();
  assert.deepEqual([sent[0][0], sent[0][1].target], ['move', { x: 15 }]);
  await state({ status: 'moving', is_moving: true, channels: { x: axis(13, 15, { moving: true }), gate: { text: 'closed', settable: true, words: ['open', 'closed'] } } });
  await page.waitForSelector('.stop-place[data-moving]');
  const stop = page.locator('.stop-place button');
  assert.ok((await stop.boundingBox()).height >= 56);
  await stop.click();
  await until('the stop', () => sent.length === 2);
  assert.equal(sent[1][0], 'stop');
  await page.selectOption('#set-gate', 'open');
  await page.waitForFunction(() => document.querySelector('[data-set="gate"] button').getAttribute('aria-disabled') === 'false');
  await page.click('[data-set="gate"] button');
  await until('the set', () => sent.length === 3);
  assert.deepEqual([sent[2][0], sent[2][1].channel, sent[2][1].value], ['set', 'gate', 'open']);
  await page.click('#card-settings summary');
  await page.waitForSelector('#card-settings .tree');
  assert.match(await page.innerText('#card-settings'), /gain\s+7[\s\S]*<b>d<\/b>[\s\S]*velocity\s+2/);
});

test('in use: nothing but stop and clearing an error, with the reason; an error is put away until it is another', { skip }, async () => {
  const state = (more) => say('st4', { status: 'measuring', used_by: 'SCAN_777', channels: { x: axis(12, null) }, ...more });
  await state({ error: 'overload' });
  const it = await show('instrument/st4');
  const { page } = it;
  await page.waitForSelector('[data-in-use]');
  assert.match(await page.innerText('[data-in-use]'), /In use by SCAN_777/);
  await page.fill('#set-x', '15');
  assert.equal(await page.getAttribute('[data-set="x"] button', 'aria-disabled'), 'true');
  assert.match(await page.getAttribute('[data-set="x"] button', 'title'), /SCAN_777/);
  assert.equal(await page.getAttribute('.stop-place button', 'aria-disabled'), 'false');
  await page.waitForSelector('[data-error]');
  await page.click('[data-hide-error]');
  await page.waitForSelector('[data-error]', { state: 'detached' });
  await state({ error: 'overload, again' });
  await page.waitForSelector('[data-error]');
  await page.route('**/api/instruments/st4/clear_error', accept);
  await page.click('[data-command="clear_error"]');
  await page.locator('[data-command="clear_error"]', { hasText: 'Clearing' }).waitFor();
});

test('what can be brought to a safe state has a button for it, what can not has none', { skip }, async () => {
  const { items } = await box.get('/api/instruments');
  const told = await Promise.all(items.map(async (i) => (await box.get(`/api/instruments/${i.instrument_id}`))));
  const [safe, other] = [true, false].map((may) => told.find((i) => (i.actions ?? []).includes('safe') === may)?.instrument_id);
  const it = await show(`instrument/${safe}`);
  const { page } = it;
  const sent = [];
  page.on('request', (request) => { if (request.method() === 'POST') sent.push(request.url().split('/api/')[1]); });
  await page.click('[data-command="safe"]');
  await page.locator('main .note[data-tone="good"]', { hasText: 'safe state' }).waitFor();
  assert.deepEqual(sent, [`instruments/${safe}/safe`]);
  await visit(page, `instrument/${other}`);
  await page.waitForSelector('.stop-place button');
  assert.equal(await page.locator('[data-command="safe"]').count(), 0);
  await it.clean();
});

test('the power supply of the bench is set, and says so', { skip }, async () => {
  const it = await show('instrument/psu');
  const { page } = it;
  await page.waitForSelector('[data-set="voltage"]');
  await free();
  await page.fill('[data-set="voltage"] input', '1.5');
  await page.waitForFunction(() => document.querySelector('[data-set="voltage"] button').getAttribute('aria-disabled') === 'false');
  await page.click('[data-set="voltage"] button');
  await page.locator('#card-set .note[data-tone="good"]').waitFor();
  await page.waitForFunction(() => /1\.50\d*\s*V/.test(document.querySelector('#card-channels').textContent));
});

// ---- every page ----

test('a phone: everything of a queue is in reach, nothing wider than the screen', { skip }, async () => {
  const own = await queue(3);
  const it = await show(`queue/${own.id}`, { device: PHONE });
  const { page } = it;
  await page.waitForSelector('ol[data-order] [data-way="down"]');
  await page.tap(`[data-scan="${own.ids[0]}"] [data-way="down"]`);
  await until('the order', async () => String(await order_shown(page)) === String([own.ids[1], own.ids[0], own.ids[2]]));
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
  await it.clean();
});

test('by keyboard alone: from the tabs to the commands and the form', { skip }, async () => {
  const own = await queue(2);
  const it = await show(`queue/${own.id}`, { device: DESK });
  const { page } = it;
  await page.waitForSelector('ol[data-order] [data-way="down"]');
  const reached = new Set();
  for (let i = 0; i < 70; i += 1) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate(() => {
      const e = document.activeElement;
      return e.dataset?.command ?? e.dataset?.way ?? e.dataset?.ask ?? (e.id || e.name || e.getAttribute('href'));
    }));
  }
  for (const want of ['#/scans', 'start', 'pause', 'stop', 'up', 'down', 'front', `remove-${own.ids[0]}`, 'scan-name', 'axis-0-set', 'add']) assert.ok(reached.has(want), `${want} in ${[...reached]}`);
});

test('the badge of a state pulses once when it becomes another: not when it is first drawn, not for who wants no motion', { skip }, async () => {
  const own = await queue(1);
  const job = `pulse${made}`;
  const work = (status) => box.post(`/api/jobs/${job}`, { kind: 'encode', status, progress: 0 });
  await work('queued');
  const it = await show('');
  const { page } = it;
  const badge = (at, word) => page.locator(at, { hasText: word }).first();
  /** [marked, animation, how often] of a badge, as the browser has it. */
  const motion = (at, word) => badge(at, word).evaluate((e) => [e.dataset.pulse !== undefined, getComputedStyle(e).animationName, getComputedStyle(e).animationIterationCount]);
  const of_queue = `#card-queues .row:has(a[href="#/queue/${own.id}"]) > .row-head .chip`;
  const [still, pulses] = [[false, 'none', '1'], [true, 'pulse', '1']];
  await badge('#card-jobs .chip', 'Waiting').waitFor();
  assert.equal(await page.locator('.chip[data-pulse]').count(), 0, 'nothing when it is first drawn');
  await work('running');
  await badge('#card-jobs .chip[data-pulse]', 'Running').waitFor();
  await visit(page, 'queues');
  await badge(of_queue, 'Idle').waitFor();
  assert.deepEqual(await motion(of_queue, 'Idle'), still);
  await request('POST', `/api/queues/${own.id}/start`, {});
  await badge(of_queue, 'Running').waitFor();
  assert.deepEqual(await motion(of_queue, 'Running'), pulses);
  await until('it to be over', async () => String(await motion(of_queue, 'Running')) === String(still));
  // The row of the scan, in its queue and in the list; what is remembered begins anew with every page.
  await visit(page, `queue/${own.id}`);
  const of_scan = `[data-scan="${own.ids[0]}"] .chip`;
  await badge(of_scan, 'Running').waitFor();
  assert.deepEqual(await motion(of_scan, 'Running'), still);
  await request('POST', `/api/queues/${own.id}/pause`, {});
  await badge(of_scan, 'Paused').waitFor();
  assert.deepEqual(await motion(of_scan, 'Paused'), pulses);
  await visit(page, `scans?queue_id=${own.id}`);
  await badge(of_scan, 'Paused').waitFor();
  await page.emulateMedia({ reducedMotion: 'reduce' });
  await request('POST', `/api/queues/${own.id}/resume`, {});
  await badge(of_scan, 'Running').waitFor();
  assert.deepEqual(await motion(of_scan, 'Running'), [true, 'none', '1'], 'the mark, without motion');
  await request('POST', `/api/queues/${own.id}/abort`, {});
  await it.clean();
});
