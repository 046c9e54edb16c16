// The life of a command under the finger: pending at once, ended only by the daemon, never silent.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PHONE, hold_back, skip, stage, until } from './harness.mjs';

const { box, show } = stage({}, { page: { lossy: true } });

let made = 0;
/** The overview with a recorder of our own, that nothing but these tests moves. */
async function overview(status, { device, name = `r${made += 1}` } = {}) {
  const say = (to) => box.post(`/api/recorders/${name}/state`, { name: `Test ${name}`, status: to, ...(to === 'recording' ? { elapsed_s: 720 } : {}) });
  await say(status);
  const it = await show(undefined, { device });
  const card = it.page.locator(`#card-recorder-${name}`);
  await card.waitFor();
  const sent = [];
  const answer = (respond) => it.page.route(`**/api/recorders/${name}/*`, (route) => {
    sent.push({ action: route.request().url().split('/').at(-1), ...route.request().postDataJSON() });
    return respond(route, sent.at(-1));
  });
  return { ...it, card, name, say, sent, answer, button: (action) => card.locator(`[data-command="${action}"]`) };
}
const accepted = (route, { command_id, action }) => route.fulfill({ status: 202, contentType: 'application/json', body: JSON.stringify({ command_id, action, state: 'accepted' }) });

test('pending within 100 ms, one request for two taps, ended only by the state', { skip }, async () => {
  const it = await overview('idle');
  await it.answer(accepted);
  // Counted in frames, which a busy machine stretches as it does the page: eight are 130 ms.
  const frames = await it.page.evaluate(async (id) => {
    const button = document.querySelector(`#card-recorder-${id} [data-command="start"]`);
    button.click();
    button.click();
    let frames = 0;
    for (; !button.textContent.includes('Starting') && frames < 300; frames += 1) await new Promise(requestAnimationFrame);
    return frames;
  }, it.name);
  assert.ok(frames <= 8, `pending after ${frames} frames`);
  assert.equal(await it.button('start').getAttribute('aria-disabled'), 'true');
  // Nothing may happen now, and nothing tells that it did not: several draws have passed by then.
  await it.page.waitForTimeout(1_000);
  assert.match(await it.button('start').innerText(), /Starting/, 'an answer of 202 ends nothing');
  assert.match(await it.card.locator('.state-word').innerText(), /Idle/);
  await it.say('recording');
  await it.card.locator('.state-word', { hasText: 'Recording' }).waitFor();
  await it.card.locator('.note[data-tone="good"]').waitFor();
  assert.equal(it.sent.length, 1);
  assert.match(it.sent[0].command_id, /^c-[a-z0-9]{10,}$/);
});

test('after 10 s without a word: no confirmation, and a retry: anew, or under the same id where nothing got through', { skip }, async () => {
  await Promise.all([no_confirmation(), no_way_through()]);
});

async function no_confirmation() {
  const it = await overview('idle', { name: 'quiet' });
  await it.answer(accepted);
  await it.button('start').click();
  const note = it.card.locator('.note[data-tone="warn"]');
  await note.waitFor({ timeout: 12_500 });
  assert.match(await note.innerText(), /No confirmation/);
  assert.match(await it.button('start').innerText(), /^Start$/);
  await note.locator('[data-retry]').click();
  await until('the retry', () => it.sent.length === 2);
  assert.notEqual(it.sent[0].command_id, it.sent[1].command_id);
  await it.card.locator('[data-command="start"]', { hasText: 'Starting' }).waitFor();
}

async function no_way_through() {
  const it = await overview('idle', { name: 'cut' });
  await it.answer((route) => route.abort());
  await it.button('start').click();
  const note = it.card.locator('.note[data-tone="warn"]');
  await note.waitFor({ timeout: 12_500 });
  assert.match(await note.innerText(), /did not get through/);
  await note.locator('[data-retry]').click();
  await until('the retry', () => it.sent.length === 2);
  assert.equal(it.sent[0].command_id, it.sent[1].command_id);
}

test('a refusal shows the reason of the daemon', { skip }, async () => {
  const it = await overview('idle');
  await it.answer((route) => route.fulfill({ status: 409, contentType: 'application/problem+json', body: '{"type":"in_use","title":"In use","status":409,"detail":"the card is being copied"}' }));
  await it.button('start').click();
  const note = it.card.locator('.note[data-tone="bad"]');
  await note.waitFor();
  assert.match(await note.innerText(), /Refused: the card is being copied/);
  await note.locator('button').click();
  await note.waitFor({ state: 'detached' });
});

test('stopping takes two steps, names the loss, has Cancel in focus, and asks the daemon only after the second', { skip }, async () => {
  const it = await overview('recording', { device: PHONE });
  await it.answer(accepted);
  const dialog = it.page.locator('dialog[open]');
  await it.button('stop').tap();
  await dialog.waitFor();
  assert.match(await dialog.innerText(), new RegExp(`Stop Test ${it.name}\\?[\\s\\S]*after 12:\\d\\d`));
  assert.equal(await it.page.evaluate(() => document.activeElement.textContent.trim()), 'Cancel');
  await it.page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await it.button('stop').tap();
  await dialog.waitFor();
  await dialog.locator('button', { hasText: 'Cancel' }).tap();
  await dialog.waitFor({ state: 'detached' });
  assert.equal(it.sent.length, 0);
  await it.button('stop').tap();
  await dialog.locator('[data-confirm]').tap();
  await until('the request', () => it.sent.length === 1);
  assert.equal(it.sent[0].action, 'stop');
  await it.card.locator('[data-command="stop"]', { hasText: 'Stopping' }).waitFor();
  await it.say('stopped');
  await it.card.locator('.state-word', { hasText: 'Stopped' }).waitFor();
});

test('the destructive button stands apart from the others', { skip }, async () => {
  const it = await overview('recording', { device: PHONE });
  const [stop, split] = [await it.button('stop').boundingBox(), await it.button('split').boundingBox()];
  assert.ok(stop.y >= split.y + split.height + 16, JSON.stringify([stop, split]));
});

test('a button that can do nothing says why before it is tapped', { skip }, async () => {
  const it = await overview('fault');
  await it.answer(accepted);
  assert.equal(await it.button('start').getAttribute('aria-disabled'), 'true');
  assert.match(await it.button('start').getAttribute('title'), /Not possible while Fault/);
  await it.button('start').click({ force: true });
  // A request that must not go out is given the time to.
  await it.page.waitForTimeout(300);
  assert.equal(it.sent.length, 0);
});

test('the recorder of the bench: a real command, confirmed by what the recorder then does', { skip }, async () => {
  const it = await show(undefined, { lossy: false });
  const card = it.page.locator('#card-recorder-rec1');
  await card.waitFor();
  const start = card.locator('[data-command="start"]');
  const split = card.locator('[data-command="split"]');
  await until('a button that can be used', async () => {
    const ready = (await start.getAttribute('aria-disabled')) === 'false' ? start : (await split.getAttribute('aria-disabled')) === 'false' ? split : null;
    if (!ready) return false;
    await ready.click();
    return true;
  });
  await card.locator('.note').first().waitFor();
  assert.equal(await card.locator('.note[data-tone="warn"]').count(), 0);
  await it.clean();
});

test('an alert is acknowledged, stays acknowledged after a reload, and a new occurrence is open again', { skip }, async () => {
  const alert = (more) => box.post('/api/events', { type: 'alert', payload: { alert_id: 'test.door', occurrence: 1, severity: 'MAJOR', state: 'active', message: 'Door open <b>', raised_at: new Date().toISOString(), ...more } });
  await alert({});
  const it = await show(undefined, { device: PHONE, lossy: false });
  const row = it.page.locator('.alert', { hasText: 'Door open <b>' });
  await it.page.waitForFunction(() => /^\(\d+\) /.test(document.title));
  // Alerts of the bench may be before it by now, and more than a few are folded away.
  const seen = (state) => until(`the alert to be ${state}`, async () => {
    const folded = it.page.locator('#card-attention [aria-expanded="false"]');
    if (await folded.count()) await folded.click();
    return it.page.locator(`.alert[data-state="${state}"]:has-text("Door open")`).count();
  });
  await seen('active');
  await row.locator('[data-command="ack"]').tap();
  await seen('acknowledged');
  await it.page.reload();
  await seen('acknowledged');
  assert.equal(await row.locator('[data-command="ack"]').count(), 0);
  await alert({ occurrence: 2 });
  await seen('active');
  await it.clean();
});

test('nothing is drawn while a finger is down', { skip }, async () => {
  const it = await overview('idle');
  const box_of = await it.card.boundingBox();
  await it.page.mouse.move(box_of.x + 60, box_of.y + 20);
  const came = await hold_back(it.page, 'recorder_status');
  await it.say('recording');
  await came(it.name);
  await it.page.mouse.down();
  // Without a finger it would be drawn within a quarter of a second.
  const drawn = await it.page.evaluate(async (id) => {
    globalThis.tell();
    for (const start = performance.now(); performance.now() - start < 600;) await new Promise((ok) => setTimeout(ok, 20));
    return document.querySelector(`#card-recorder-${id} .state-word`).textContent;
  }, it.name);
  assert.match(drawn, /Idle/);
  await it.page.mouse.up();
  await it.card.locator('.state-word', { hasText: 'Recording' }).waitFor();
});
