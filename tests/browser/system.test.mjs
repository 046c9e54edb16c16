// The system page: every source with what to do about it, clock, card, services, and the configuration, where nothing
// is sent before Save and nothing that was typed is lost.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { fake_config } from './fake_config.mjs';
import { PHONE, browser, daemon, open, skip, until, visit } from './harness.mjs';

let box;
let chrome;
const opened = [];
before(async () => {
  if (skip) return;
  [box, chrome] = await Promise.all([daemon(), browser()]);
});
afterEach(async () => {
  for (const it of opened.splice(0)) await it.close();
});
after(async () => {
  await chrome?.close();
  await box?.close();
});

const publish = (type, payload, topic = 'system') => box.post('/api/events', { type, topic, payload });
const source = (source_id, more) => publish('source_status', { source_id, kind: 'serial', status: 'ok', quality: 'good', last_seen: new Date().toISOString(), errors: 0, reconnects: 0, ...more });

async function go(address, options = {}) {
  const it = await open(chrome, `${options.url ?? box.url}/#/${address}`, options);
  opened.push(it);
  return it;
}

test('every source with its state, age, counters and last error; one of them in full, by its own address', { skip }, async () => {
  await source('gps', { status: 'error', quality: 'bad', quality_reason: 'comm_error', last_seen: new Date(Date.now() - 90e3).toISOString(), errors: 12, reconnects: 3, last_error: 'checksum <b>wrong</b>',
    detail: { lines: 40, bad_lines: 12, bytes: 123456, device: '/dev/ttyUSB0', recorder: 'deck', last_bad: { line: '$GP\u0000<i>RMC\r\n', why: 'checksum is 1A, expected 2B', at: new Date().toISOString() } } });
  const it = await go('system');
  const { page } = it;
  const row = page.locator('tr[data-source="gps"]');
  await row.waitFor();
  assert.match(await row.innerText(), /gps[\s\S]*Error[\s\S]*serial[\s\S]*1 min ago[\s\S]*12[\s\S]*3[\s\S]*checksum <b>wrong<\/b>/);
  assert.equal(await page.locator('#card-sources tbody tr').first().getAttribute('data-source'), 'gps', 'trouble first');
  assert.ok(await row.locator('svg use').count());
  await row.locator('a').click();
  await page.waitForSelector('main[data-at="system/sources/gps"] .source-state');
  const text = await page.innerText('main');
  for (const part of [/baud rate/, /bad_lines\s*12/, /123,456 \(123 kB\)/, /\/dev\/ttyUSB0/, /checksum is 1A/, /recorder\/deck/]) assert.match(text, part);
  assert.equal(await page.innerText('pre.bytes'), '$GP\\x00<i>RMC\\r\\n');
  await source('gps', { status: 'ok' });
  await page.waitForSelector('.source-state:has-text("OK")');
  await visit(page, 'system/sources/nothing');
  await page.waitForSelector('[data-empty="none"]');
  await it.clean();
});

test('an unset clock: what happens is said first, and the time goes out only after the second step', { skip }, async () => {
  const unset = await daemon({ env: { TELLTALE_CLOCK: 'unsynced' } });
  try {
    const it = await go('system', { url: unset.url, device: PHONE });
    const { page } = it;
    const sent = [];
    page.on('request', (request) => request.url().endsWith('/api/time') && request.method() === 'POST' && sent.push(request.postDataJSON()));
    await page.waitForSelector('[data-notice="unsynced"]');
    await page.locator('[data-command="set_time"]').tap();
    const dialog = page.locator('dialog[open]');
    await dialog.waitFor();
    assert.match(await dialog.innerText(), /will take .* as the time[\s\S]*clock of the box itself is not changed/);
    await dialog.locator('button:has-text("Cancel")').tap();
    assert.equal(sent.length, 0);
    await page.locator('[data-command="set_time"]').tap();
    await dialog.locator('[data-confirm]').tap();
    await page.waitForSelector('#card-clocks .note[data-tone="good"]');
    await page.waitForSelector('#card-clocks:has-text("Set by hand")');
    assert.ok(Math.abs(Date.parse(sent[0].now) - Date.now()) < 10_000);
    await it.clean();
  } finally {
    await unset.close();
  }
});

test('services: what each can, two steps for what hurts, ended by the state', { skip }, async () => {
  const say = (status) => publish('service_status', { name: 'cam', status, since: new Date().toISOString(), description: 'Camera', restarts: 2, can: ['start', 'stop', 'restart'], triggered_by: ['cam.timer'] }, 'services');
  await say('active');
  const it = await go('system', { lossy: true });
  const { page } = it;
  const row = page.locator('[data-service="cam"]');
  await row.waitFor();
  assert.match(await row.innerText(), /Active[\s\S]*Camera[\s\S]*2 restarts[\s\S]*started by cam\.timer/);
  const sent = [];
  await page.route('**/api/services/cam/*', (route) => {
    sent.push(route.request().url().split('/').at(-1));
    return route.fulfill({ status: 202, contentType: 'application/json', body: '{"state":"accepted"}' });
  });
  assert.equal(await row.locator('[data-command="start"]').getAttribute('aria-disabled'), 'true');
  await row.locator('[data-command="stop"]').click();
  assert.match(await page.innerText('dialog[open]'), /Stop cam\?/);
  await page.keyboard.press('Escape');
  assert.deepEqual(sent, []);
  await row.locator('[data-command="stop"]').click();
  await page.click('dialog[open] [data-confirm]');
  await row.locator('[data-command="stop"]:has-text("Stopping")').waitFor();
  await publish('service_status', { name: 'other', status: 'inactive', since: null, can: [] }, 'services');
  await page.waitForTimeout(500);
  assert.match(await row.locator('[data-command="stop"]').innerText(), /Stopping/, 'another service ends nothing');
  await say('inactive');
  await row.locator('.note[data-tone="good"]').waitFor();
  assert.deepEqual(sent, ['stop']);
});

test('a failing card is named, with what to do', { skip }, async () => {
  const it = await go('system');
  await it.page.waitForSelector('#card-storage .facts');
  const found = await it.page.evaluate(async () => {
    const { app } = await import(new URL('js/app.js', location.href).href);
    const box = app.store.slices.health.box;
    app.store.slices.health = { ...app.store.slices.health, box: { ...box, payload: { ...box.payload, card: { errors: 3, last_error: 'I/O error, dev mmcblk0, sector 1234', at: '2026-01-07T15:30:00.000Z' } } } };
    app.draw();
    return document.querySelector('[data-notice="card"]')?.innerText;
  });
  assert.match(found, /3 read or write errors[\s\S]*mmcblk0, sector 1234[\s\S]*Copy what matters/);
  await it.clean();
});

test('configuration: what is typed is kept through updates and other pages, and sent only by Save', { skip }, async () => {
  const it = await go('settings');
  const { page } = it;
  const config = await fake_config(it.context);
  await visit(page, 'system');
  await page.click('#card-config-door a');
  await page.waitForSelector('#section-store summary');
  await page.click('#section-store summary');
  const keep = page.locator('#key-store\\.keep');
  await keep.click();
  await keep.press('End');
  await keep.press('Backspace');
  await keep.press('Backspace');
  await keep.press('Backspace');
  const typing = page.keyboard.type('750MB', { delay: 100 });
  for (let i = 0; i < 4; i += 1) await source('gps', { errors: i });
  await publish('config_changed', { revision: 3, sections: [], applied: true, error: null });
  await typing;
  assert.equal(await keep.inputValue(), '750MB');
  assert.ok(await keep.evaluate((e) => e === document.activeElement), 'still at it');
  await page.waitForSelector('[data-key="store.keep"][data-changed]');
  await visit(page, 'overview');
  await visit(page, 'system/config/store');
  await page.waitForSelector('[data-key="store.keep"][data-changed]');
  assert.equal(await keep.inputValue(), '750MB');
  assert.deepEqual(config.sent, [], 'nothing is sent before Save');
  await page.click('[data-save="store"]');
  await page.waitForSelector('#section-store [data-outcome="saved"]');
  assert.deepEqual(config.sent.map(({ set, unset, if_revision }) => ({ set, unset, if_revision })), [{ set: { 'store.keep': '750MB' }, unset: [], if_revision: 'r1' }]);
  assert.match(config.text, /keep = "750MB" # the card is small/);
  assert.equal(await page.locator('[data-key][data-changed]').count(), 0);
  await it.clean();
});

test('configuration: a value that is no value is said at once, and the daemon has the last word; restart and default are marked', { skip }, async () => {
  const it = await go('settings', { lossy: true });
  const { page } = it;
  const config = await fake_config(it.context);
  await visit(page, 'system/config/store');
  const keep = page.locator('#key-store\\.keep');
  await keep.fill('12');
  await page.waitForSelector('[data-key="store.keep"] .note:has-text("Expected a size")');
  await page.click('[data-save="store"]');
  await page.waitForSelector('[data-key="store.keep"] .note:has-text("expected a size")');
  assert.equal(await keep.inputValue(), '12', 'what was typed stays');
  await page.click('[data-reset="store"]');
  await until('the value of the file', async () => (await keep.inputValue()) === '2GB');
  await page.click('[data-key="store.keep"] button:has-text("Use the default")');
  await until('the default', async () => (await keep.inputValue()) === '1GiB');
  await page.evaluate(() => { document.querySelectorAll('details.fold').forEach((fold) => { fold.open = true; }); });
  await page.fill('#key-listen', '0.0.0.0:9000');
  assert.match(await page.innerText('[data-key="listen"]'), /needs a restart/);
  await page.click('[data-save="all"]');
  await page.waitForSelector('[data-outcome="saved"]:has-text("at the next start: listen")');
  assert.deepEqual([config.sent.at(-1).set, config.sent.at(-1).unset], [{ listen: '0.0.0.0:9000' }, ['store.keep']]);
});

test('configuration: changed elsewhere while editing: both are kept, compared, and the person decides', { skip }, async () => {
  const it = await go('settings', { lossy: true });
  const { page } = it;
  const config = await fake_config(it.context);
  await visit(page, 'system/config/store');
  await page.fill('#key-store\\.keep', '3GB');
  config.elsewhere((text) => text.replace('van 3', 'van 4'));
  await page.click('[data-save="store"]');
  await page.waitForSelector('[data-config="conflict"]');
  assert.equal(await page.inputValue('#key-store\\.keep'), '3GB');
  await page.click('[data-config="conflict"] button:has-text("Compare")');
  assert.match(await page.innerText('table.compare'), /name[\s\S]*van 3[\s\S]*van 4[\s\S]*store\.keep[\s\S]*2GB[\s\S]*3GB/);
  await page.click('[data-conflict="mine"]');
  await page.click('[data-save="store"]');
  await page.waitForSelector('#section-store [data-outcome="saved"]');
  assert.match(config.text, /van 4[\s\S]*3GB/, 'nothing of theirs was overwritten');
  await page.fill('#key-store\\.keep', '4GB');
  config.elsewhere((text) => text.replace('3GB', '5GB'));
  await publish('config_changed', { revision: 4, sections: ['store'], applied: true, error: null });
  await page.waitForSelector('[data-config="conflict"]');
  await page.click('[data-conflict="theirs"]');
  await page.waitForSelector('[data-config="conflict"]', { state: 'detached' });
  assert.equal(await page.inputValue('#key-store\\.keep'), '5GB');
});

test('configuration: lists as blocks of text, the whole file with its faults by line', { skip }, async () => {
  const it = await go('settings', { lossy: true });
  const { page } = it;
  const config = await fake_config(it.context);
  await visit(page, 'system/config/gpio');
  await page.fill('[data-block="gpio/door"] textarea', '[[gpio]]\nid = "door"\npin = 22');
  await page.click('[data-save="gpio/door"]');
  await page.waitForSelector('[data-block="gpio/door"] [data-outcome="saved"]');
  assert.match(config.text, /pin = 22/);
  assert.match(config.text, /# The van[\s\S]*id = "tape"\npin = 17/, 'the rest is as it was');
  await page.click('[data-remove="gpio/tape"]');
  await page.click('dialog[open] [data-confirm]');
  await page.waitForSelector('[data-block="gpio/tape"]', { state: 'detached' });
  assert.doesNotMatch(config.text, /tape/);
  await page.click('[data-add="gpio"]');
  await page.fill('[data-block="gpio/+"] textarea', '[[gpio]]\nid = "new"\npin = 5\n');
  await page.click('[data-save="gpio/+"]');
    await until('the new block', () => config.text.endsWith('[[gpio]]\nid = "new"\npin = 5\n'));
  await page.click('#section-raw summary');
  const text = await page.inputValue('#config-raw');
  await page.fill('#config-raw', `${text}\nnonsense = 1\n`);
  await page.click('[data-check]');
  await page.waitForSelector('#section-raw [data-outcome="refused"]');
  await page.click('[data-jump]');
  await until('the cursor', () => page.evaluate(() => {
    const editor = document.activeElement;
    return editor.id === 'config-raw' && editor.value.slice(editor.selectionStart, editor.selectionEnd) === 'nonsense = 1';
  }));
  await page.fill('#config-raw', text.replace('van 3', 'van 9'));
  await page.click('[data-save="raw"]');
  await page.waitForSelector('#section-raw [data-outcome="saved"]');
  assert.match(config.text, /van 9/);
});

test('configuration: what may not be changed is shown with the reason', { skip }, async () => {
  const it = await go('settings');
  const { page } = it;
  await fake_config(it.context, { writable: false });
  await visit(page, 'system/config/store');
  await page.waitForSelector('[data-config="locked"]:has-text("may not write /etc/telltale/telltale.toml")');
  assert.equal(await page.locator('[data-save], [data-reset], [data-remove], [data-add]').count(), 0);
  assert.ok(await page.locator('#key-store\\.keep').evaluate((e) => e.readOnly));
  await it.clean();
});
