// Who may look and who may act, where the box asks for a key.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { binary, conn, daemon, skip, stage, visit } from './harness.mjs';

const { at } = stage(null);

const make_key = (box, role) => execFileSync(binary(), ['key', 'make', '--role', role, '--name', `test ${role}`, '--data', box.data], { encoding: 'utf8' }).match(/tt_\S+/)[0];

async function with_box(env, run) {
  const box = await daemon({ env: { TELLTALE_ACCESS_TRUST_LOOPBACK: 'false', ...env } });
  try {
    await run(box);
  } finally {
    await box.close();
  }
}

test('a closed box: the page says what it wants; a wrong key is told; a right one opens it, and logging out closes it', { skip }, () => with_box({ TELLTALE_ACCESS_OPEN_VIEW: 'false' }, async (box) => {
  const { page } = await at(box.url, { lossy: true, wait: 'offline' });
  await page.waitForSelector('[data-banner="denied"]');
  await page.waitForSelector('[data-empty="error"]');
  await page.click('[data-banner="denied"] a');
  assert.equal(await page.innerText('#card-login h2'), 'Log in');
  await page.fill('input[name=key]', 'tt_nothing');
  await page.click('button.primary');
  await page.waitForSelector('.note[data-tone="bad"]');
  assert.match(await page.textContent('.note'), /not known here/);
  assert.equal(await page.inputValue('input[name=key]'), 'tt_nothing');
  await page.fill('input[name=key]', make_key(box, 'operate'));
  await page.click('button.primary');
  await page.waitForSelector('.note[data-tone="good"]');
  await conn(page, 'live');
  assert.equal(await page.inputValue('input[name=key]'), '');
  assert.equal(await page.evaluate(() => document.cookie), '', 'scripts see no cookie');
  await visit(page, 'overview');
  await page.waitForSelector('[data-command][aria-disabled="false"]');
  await visit(page, 'login');
  await page.click('button:has-text("Log out")');
  await conn(page, 'offline');
  await page.waitForSelector('[data-banner="denied"]');
}));

test('an open box: everyone sees, and is told what acting needs', { skip }, () => with_box({ TELLTALE_ACCESS_OPEN_VIEW: 'true' }, async (box) => {
  const { page, faults } = await at(box.url);
  await page.waitForSelector('[data-command="start"]');
  assert.equal(await page.locator('[data-command]').count(), await page.locator('[data-command][aria-disabled="true"]').count());
  const reasons = await page.locator('[data-command]').evaluateAll((all) => all.map((b) => b.title));
  assert.ok(reasons.some((r) => /key that may operate/.test(r)), reasons.join());
  // A finger sees no title: a stop that may not be given is told where it was tapped.
  await visit(page, 'instruments');
  await page.locator('[data-stop-all]').dispatchEvent('click');
  assert.match(await page.locator('[data-stopped="failed"]').innerText({ timeout: 5_000 }), /refused: Needs a key that may operate/);
  await visit(page, 'login');
  await page.fill('input[name=key]', make_key(box, 'operate'));
  await page.keyboard.press('Enter');
  await page.waitForSelector('.note[data-tone="good"]');
  await visit(page, 'overview');
  await page.waitForSelector('[data-command][aria-disabled="false"]');
  assert.deepEqual(faults, []);
}));
