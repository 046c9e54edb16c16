// A value stream from an exchange that is somebody else's program (tests/devices/feed.py), as the page shows it: through a
// stall, a time when only REST answers, a kill, and back. Needs the Python that TELLTALE_TEST_PY names, as the cargo tests do.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { daemon, skip as no_browser, stage, until } from './harness.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const skip = no_browser || (!process.env.TELLTALE_TEST_PY && 'TELLTALE_TEST_PY does not name a Python with tests/devices/requirements.txt');
const { at } = stage(null);
const running = [];
after(async () => {
  for (const end of running.reverse()) await end();
});

/** {ws, rest, say}: the ports of the exchange, and what tells it a line. */
async function exchange() {
  const dir = mkdtempSync(join(tmpdir(), 'telltale-feed-'));
  const ports = join(dir, 'ports.json');
  // Relative to the root, as tests/run says it.
  const child = spawn(resolve(ROOT, process.env.TELLTALE_TEST_PY), [join(ROOT, 'tests/devices/feed.py'), ports], { stdio: ['pipe', 'pipe', 'inherit'] });
  running.push(() => {
    child.kill();
    rmSync(dir, { recursive: true, force: true });
  });
  let said = '';
  child.stdout.on('data', (text) => { said += text; });
  await until('the exchange', () => {
    assert.equal(child.exitCode, null, 'the exchange ended');
    return said.includes('ready');
  });
  return { ...JSON.parse(readFileSync(ports, 'utf8')), say: (line) => child.stdin.write(`${line}\n`) };
}

test('an exchange that stalls, answers by REST alone, is killed and comes back', { skip }, async () => {
  const feed = await exchange();
  const box = await daemon({ config: `name = "telltale"\n\n[[stream]]\nid = "btc"\nname = "Bitcoin"\nunit = "USD"\nurl = "ws://127.0.0.1:${feed.ws}/ws"\nsubscribe = ["subscribe"]\nvalue = "p"\ntime = "T"\nonly_path = "s"\nonly_value = "BTCUSDT"\nstale_after = "1s"\nrest = "http://127.0.0.1:${feed.rest}/price"\nrest_value = "price"\nrest_interval = "500ms"\n` });
  running.push(() => box.close());
  const it = await at(`${box.url}/#/streams`);
  const { page } = it;
  const card = '#card-stream-btc';
  const state = (name) => page.waitForSelector(`${card} .panel[data-state="${name}"]`, { timeout: 60_000 });
  const figure = async () => Number((await page.innerText(`${card} .big .num`)).replace(/[^\d.]/g, ''));
  const fact = async (n) => Number((await page.innerText(`${card} .facts .fact:nth-child(${n}) dd`)).replace(/\D/g, ''));

  await page.waitForSelector(`${card} [data-says="waiting"]`);
  // Trades are numbered: the value is the number of the trade.
  const heard = setInterval(() => feed.say('rate 20 600'), 2_000);
  await state('live');
  clearInterval(heard);
  const first = await figure();
  await until('trades to move it', async () => (await figure()) > first + 10);
  assert.match(await page.innerText(card), /Live[\s\S]*USD[\s\S]*now/);

  feed.say('stall');
  await state('stale');
  await page.waitForSelector(`${card} .panel-says:has-text("Last good value")`);
  const last = await figure();
  assert.ok(last > first);
  assert.match(await page.innerText(card), /\d+ s old/);

  feed.say('rest 93000.5');
  await state('fallback');
  await until('what REST says', async () => (await figure()) === 93_000.5);

  feed.say('rest no');
  feed.say('kill');
  await state('offline');
  assert.equal(await figure(), 93_000.5, 'the last good value, and none made up');
  await page.waitForSelector(`${card} .panel-says:has-text("Last good value")`);

  feed.say('back');
  feed.say('rate 20 600');
  await state('live');
  await until('trades again', async () => (await figure()) < 10_000);
  assert.ok((await fact(2)) >= 1, 'the reconnect is counted');
  await it.clean();
});
