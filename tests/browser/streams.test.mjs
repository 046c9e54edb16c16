// The page of value streams against a real feed of our own: states, last good values, limits, a clock for each panel.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { after, test } from 'node:test';
import { PHONE, skip, stage, until } from './harness.mjs';

let exchange;
const { box, show } = stage(async () => {
  exchange = await feed();
  const ws = (id, more = '') => `[[stream]]\nid = "${id}"\nname = "${id.toUpperCase()}"\nunit = "USD"\nurl = "ws://127.0.0.1:${exchange.port}/${id}"\nvalue = "p"\nstale_after = "1s"\ninterval = "50ms"\n${more}\n`;
  return { config: `name = "telltale"\nbench = true\n\n${ws('btc', `rest = "http://127.0.0.1:${exchange.port}/rest"\nrest_value = "price"\nhigh = 110000\nhigh_alarm = 120000`)}${ws('eth')}[[stream]]\nid = "level"\nname = "Level"\nunit = "m"\nstale_after = "1s"\nexpire_after = "4s"\n\n[[stream]]\nid = "mute"\nname = "Mute"\nurl = "ws://127.0.0.1:${exchange.port}/mute"\nvalue = "p"\n` };
}, { page: { lossy: true } });
after(() => exchange?.close());

/** A WebSocket server by hand (RFC 6455, text frames only) with a REST answer beside it. */
async function feed() {
  const it = { port: 0, takes: true, price: 100_000, open: new Map() };
  const server = createServer((request, answer) => answer.setHeader('content-type', 'application/json').end(JSON.stringify({ price: 99_999 })));
  server.on('upgrade', (request, socket) => {
    socket.on('error', () => {});
    if (!it.takes) return socket.end('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n');
    const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    it.open.set(request.url, socket);
    socket.on('close', () => it.open.get(request.url) === socket && it.open.delete(request.url));
  });
  await new Promise((ok) => server.listen(0, '127.0.0.1', ok));
  it.port = server.address().port;
  it.send = (path, text) => {
    const body = Buffer.from(text);
    it.open.get(path)?.write(Buffer.concat([Buffer.from(body.length < 126 ? [0x81, body.length] : [0x81, 126, body.length >> 8, body.length & 255]), body]));
  };
  const timer = setInterval(() => {
    for (const path of it.open.keys()) if (path !== '/mute') it.send(path, JSON.stringify({ p: String(it.price += 1) }));
  }, 100);
  it.kill = () => {
    it.takes = false;
    for (const socket of it.open.values()) socket.destroy();
  };
  it.close = () => {
    clearInterval(timer);
    it.kill();
    server.close();
  };
  return it;
}

async function page_of({ pace = {}, path = 'streams', ...options } = {}) {
  const it = await show(undefined, options);
  await it.page.evaluate((all) => Object.entries(all).forEach(([id, value]) => localStorage.setItem(`telltale.pace.stream.${id}`, value)), pace);
  await it.page.evaluate((to) => { location.hash = `#/${to}`; }, path);
  await it.page.waitForSelector('.panels .panel');
  return it;
}
const card = (id) => `#card-stream-${id}`;
const text = (page, id) => page.innerText(card(id));
const figure = async (page, id) => Number((await page.innerText(`${card(id)} .big .num`)).replace(/[^\d.]/g, ''));
const state = (page, id) => page.getAttribute(`${card(id)} .panel`, 'data-state');

test('live, fallback while REST answers, and live again; the last good value stays, and a number is never made up', { skip }, async () => {
  const it = await page_of();
  const { page } = it;
  await page.waitForSelector(`${card('btc')} .panel[data-state="live"]`);
  await until('values to move', async () => (await figure(page, 'btc')) > 100_010);
  assert.match(await text(page, 'btc'), /Live[\s\S]*USD[\s\S]*now/);
  exchange.kill();
  await page.waitForSelector(`${card('btc')} .panel[data-state="fallback"]`);
  await until('the value of REST', async () => (await figure(page, 'btc')) === 99_999 || /99,999/.test(await text(page, 'btc')));
  assert.match(await text(page, 'btc'), /Fallback/);
  // The other one has no REST: what it last said stays, and says that it is not the present.
  await until('the other to be not live', async () => ['stale', 'offline', 'connecting'].includes(await state(page, 'eth')));
  await page.waitForSelector(`${card('eth')} .panel-says:has-text("Last good value")`);
  assert.ok((await figure(page, 'eth')) > 100_000);
  assert.match(await text(page, 'eth'), /\d+ (s|min) old/);
  exchange.takes = true;
  for (const id of ['btc', 'eth']) await page.waitForSelector(`${card(id)} .panel[data-state="live"]`, { timeout: 60_000 });
  await until('values to move again', async () => (await figure(page, 'btc')) > 100_000);
  assert.ok(Number((await page.innerText(`${card('eth')} .facts .fact:nth-child(2) dd`)).replace(/\D/g, '')) >= 1, 'reconnects are counted');
  await it.clean();
});

test('what never said anything is waited for, without a number; what was posted grows stale and runs out', { skip }, async () => {
  const it = await page_of();
  const { page } = it;
  await page.waitForSelector(`${card('mute')} [data-says="waiting"]`);
  assert.match(await text(page, 'mute'), /–\s+Waiting for data/);
  await box.post('/api/streams/level', { value: 2.5 });
  await page.waitForSelector(`${card('level')} .panel[data-state="live"] .big`);
  await page.waitForSelector(`${card('level')} .panel[data-state="stale"] [data-says="last"]`);
  assert.match(await text(page, 'level'), /stale[\s\S]*2\.500[\s\S]*m[\s\S]*Last good value[\s\S]*old/);
  await page.waitForSelector(`${card('level')} [data-says="none"]`);
  assert.match(await text(page, 'level'), /No data[\s\S]*Last good value: 2\.500/);
  await it.clean();
});

test('what can not be read is counted, and the value stays', { skip }, async () => {
  const it = await page_of();
  const { page } = it;
  await page.waitForSelector(`${card('eth')} .panel[data-state="live"]`);
  for (let i = 0; i < 7; i += 1) exchange.send('/eth', '{"p":"dear"}');
  const dropped = async () => Number(await page.innerText(`${card('eth')} .facts .fact:first-child dd`));
  await until('seven dropped', async () => (await dropped()) === 7);
  assert.ok((await figure(page, 'eth')) > 100_000);
  await it.clean();
});

test('limits: warning and alarm bands, in words and in the bar', { skip }, async () => {
  const it = await page_of();
  const { page } = it;
  await page.waitForSelector(`${card('btc')} .panel[data-state="live"]`);
  assert.match(await page.getAttribute(`${card('btc')} .limits svg`, 'aria-label'), /Warning above .*110,000.*Alarm above .*120,000/);
  const before = exchange.price;
  exchange.price = 115_000;
  await page.waitForSelector(`${card('btc')} .panel[data-severity="MINOR"]`);
  assert.match(await text(page, 'btc'), /Minor/);
  exchange.price = 125_000;
  await page.waitForSelector(`${card('btc')} .panel[data-severity="MAJOR"]`);
  exchange.price = before;
  await page.waitForSelector(`${card('btc')} .panel[data-severity="NO_ALARM"]`);
  await it.clean();
});

test('each panel asks in its own pace, and only then; by hand asks when asked', { skip }, async () => {
  const it = await page_of({ pace: { btc: '1', eth: '2', grid_hz: 'manual' } });
  const { page } = it;
  const asked = { btc: [], eth: [], grid_hz: [], tank_level: [] };
  page.on('request', (request) => {
    const id = /topics=stream%2F(\w+)/.exec(request.url())?.[1];
    asked[id]?.push(performance.now());
  });
  await until('some turns', () => asked.btc.length >= 5 && asked.eth.length >= 3);
  for (const [id, period] of [['btc', 1_000], ['eth', 2_000]]) {
    const times = asked[id];
    const mean = (times.at(-1) - times[0]) / (times.length - 1);
    assert.ok(Math.abs(mean - period) < 0.2 * period, `${id}: ${mean} ms`);
  }
  assert.deepEqual([asked.grid_hz.length, asked.tank_level.length], [0, 0], 'by hand and at once ask nothing');
  // What has a pace of its own is not sent by the daemon.
  const wanted = await page.evaluate(async () => (await import(new URL('js/app.js', location.href).href)).app.connection.merged().topics);
  assert.ok(wanted.includes('stream/tank_level') && !wanted.includes('stream/btc') && !wanted.includes('stream/grid_hz'), wanted.join());
  const still = await figure(page, 'grid_hz');
  await page.click(`${card('grid_hz')} [data-refresh]`);
  await until('an answer', async () => asked.grid_hz.length === 1 && (await figure(page, 'grid_hz')) !== still);
  // The choice is kept in this browser, and holds at once.
  await page.selectOption(`${card('eth')} [data-pace]`, 'push');
  await page.waitForFunction(async () => (await import(new URL('js/app.js', location.href).href)).app.connection.merged().topics.includes('stream/eth'));
  const count = asked.eth.length;
  const turns = asked.btc.length;
  await until('more turns of the other', () => asked.btc.length >= turns + 3);
  assert.equal(asked.eth.length, count);
  assert.equal(await page.evaluate(() => localStorage.getItem('telltale.pace.stream.eth')), null);
  await page.reload();
  await page.waitForSelector(`${card('btc')} [data-pace]`);
  assert.equal(await page.inputValue(`${card('btc')} [data-pace]`), '1');
  await it.clean();
});

test('an error in one panel stays there, keeps its value, and the next turn mends it', { skip }, async () => {
  const it = await page_of({ pace: { btc: '1', eth: '1' } });
  const { page } = it;
  await page.waitForSelector(`${card('btc')} .big .num`);
  await page.route('**/api/state?topics=stream%2Fbtc', (route) => route.fulfill({ status: 503, contentType: 'application/problem+json', body: '{"type":"busy","title":"Busy","status":503,"detail":"the box is busy"}' }));
  await page.waitForSelector(`${card('btc')} [data-fault]:has-text("the box is busy")`);
  assert.ok((await figure(page, 'btc')) > 99_000, 'the last value stays');
  assert.equal(await page.locator('[data-fault]').count(), 1);
  const other = await figure(page, 'eth');
  await until('the other to go on', async () => (await figure(page, 'eth')) > other);
  await page.unroute('**/api/state?topics=stream%2Fbtc');
  await page.waitForSelector(`${card('btc')} [data-fault]`, { state: 'detached' });
  await it.clean();
});

test('focus and what is half typed survive every update; a filter that matches nothing says so', { skip }, async () => {
  const it = await page_of({ pace: { btc: '1' } });
  const { page } = it;
  await page.focus(`${card('eth')} [data-pace]`);
  const first = await figure(page, 'eth');
  await until('many values', async () => (await figure(page, 'eth')) > first + 15);
  assert.ok(await page.evaluate(() => document.activeElement.closest('#card-stream-eth') !== null && document.activeElement.matches('[data-pace]')));
  await page.click('[data-filter="text"]');
  await page.keyboard.type('et');
  await page.waitForSelector(card('btc'), { state: 'detached' });
  await until('more values', async () => (await figure(page, 'eth')) > first + 30);
  await page.keyboard.type('hx');
  await page.waitForSelector('[data-empty="filter"]');
  assert.equal(await page.inputValue('[data-filter="text"]'), 'ethx');
  assert.ok(await page.evaluate(() => document.activeElement.matches('[data-filter="text"]')));
  await page.click('[data-filter="clear"]');
  await page.waitForSelector(card('btc'));
  await page.selectOption('[data-filter="state"]', 'trouble');
  await page.waitForSelector(card('btc'), { state: 'detached' });
  await page.waitForSelector(card('mute'));
  await it.clean();
});

test('the history: every peak of the range in the chart, as a table too, in a pace of its own', { skip }, async () => {
  const base = Date.now() - 60_000;
  for (let i = 0; i < 300; i += 1) await box.post('/api/streams/past', { value: i === 137 ? 99 : i % 7, timestamp: new Date(base + i * 100).toISOString() });
  const it = await page_of({ path: 'streams/past' });
  const { page } = it;
  await page.waitForSelector(`${card('past')} live-chart canvas`);
  await until('the peak', async () => /to 99/.test(await page.getAttribute(`${card('past')} .chart-plot`, 'aria-label')));
  const asked = [];
  page.on('request', (request) => { if (request.url().includes('/history')) asked.push(request.url()); });
  await page.click(`${card('past')} [data-range="3600"]`);
  await until('another range', () => asked.length === 1);
  const { searchParams } = new URL(asked[0]);
  assert.equal(Date.parse(searchParams.get('to')) - Date.parse(searchParams.get('from')), 3_600_000);
  await page.click(`${card('past')} [data-history]`);
  await page.waitForSelector(`${card('past')} live-chart`, { state: 'detached' });
  await it.clean();
});

test('what was before a restart says so', { skip }, async () => {
  await box.post('/api/streams/old?durable=true', { value: 5 });
  const it = await page_of({ pace: { old: '1' } });
  const { page } = it;
  await page.waitForSelector(`${card('old')} .big .num`);
  await box.kill();
  await box.start();
  await page.waitForSelector('[data-conn="live"]');
  await page.waitForSelector(`${card('old')} .age:has-text("from before the restart")`);
  await it.clean();
});

test('a phone: panels below each other, nothing beyond the edge', { skip }, async () => {
  const it = await page_of({ device: { ...PHONE, viewport: { width: 320, height: 700 } }, path: 'streams/btc' });
  const { page } = it;
  await page.waitForSelector(`${card('btc')} live-chart canvas`);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
  const small = await page.evaluate(() => [...document.querySelectorAll('main :is(a, button, select, input, summary)')].filter((e) => { const b = e.getBoundingClientRect(); return b.width && (b.height < 44 || b.width < 44); }).map((e) => e.outerHTML.slice(0, 90)));
  assert.deepEqual(small, []);
  await it.clean();
});
