// A scan over two axes as a map: every cell what was measured there, empty where nothing was, live, told in words; and the
// search in the log of a scan and of a queue.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DESK, PHONE, axe_of, skip, stage, until } from './harness.mjs';

/** Where to leave pictures, for who wants to look at them. */
const SHOTS = process.env.TELLTALE_SHOTS;

const { box, show } = stage({}, { page: { lossy: true } });

const COLUMNS = [{ name: 'stage.y', unit: 'mm', role: 'setpoint', axis: 0 }, { name: 'stage.x', unit: 'mm', role: 'setpoint', axis: 1 }, { name: 'pd.voltage', unit: 'V', role: 'measured' }, { name: 'dmm.current', unit: 'mA', role: 'measured' }];
let made = 0;
/** A snake of `wide` points a line that this test measures. */
async function scan(wide, high, columns = COLUMNS) {
  const id = `M${Date.now() % 1e6}_${made += 1}`;
  await box.post('/api/scans', { scan_id: id, name: `Raster ${id}`, executor: 'external', points_total: wide * high, columns, lease_s: 60 });
  const row = (i) => {
    const y = Math.floor(i / wide) % high;
    const x = y % 2 ? wide - 1 - (i % wide) : i % wide;
    return { 'stage.y': y / 2, 'stage.x': x / 10, 'pd.voltage': Math.exp(-(((x - wide / 2) / wide) ** 2 + ((y - high / 2) / high) ** 2) * 6), 'dmm.current': i };
  };
  let next = 0;
  return {
    id, row,
    points: async (count, data = row) => {
      for (let from = next; from < next + count; from += 1_000) {
        await box.post(`/api/scans/${id}/data`, Array.from({ length: Math.min(1_000, next + count - from) }, (_, k) => ({ measurement: 'main', sequence_index: from + k, t_rel: (from + k) / 20, data: data(from + k) })));
      }
      next += count;
    },
    end: () => box.post(`/api/scans/${id}/control`, { state: 'completed' }),
  };
}

/** {wide, high, filled, values}: what is drawn, by rows from the least y. */
const drawn = (page) => page.evaluate(() => {
  const map = document.querySelector('heat-map')?.wanted?.map;
  return map ? { wide: map.xs.length, high: map.ys.length, filled: map.filled, values: [...map.values] } : { filled: 0 };
});
const filled = (page, n) => until(`${n} cells`, async () => (await drawn(page)).filled === n);
/** [r, g, b] in the middle of a cell, rows counted from below. */
const pixel = (page, column, row) => page.evaluate(([column, row]) => {
  const { map } = document.querySelector('heat-map').wanted;
  const canvas = document.querySelector('.map-plot canvas');
  const [w, h] = [canvas.width / map.xs.length, canvas.height / map.ys.length];
  const copy = Object.assign(document.createElement('canvas'), { width: canvas.width, height: canvas.height }).getContext('2d', { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  return [...copy.getImageData(Math.floor((column + 0.5) * w), Math.floor(canvas.height - (row + 0.5) * h), 1, 1).data.slice(0, 3)];
}, [column, row]);
const light = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;

test('live: cells as they come, empty where nothing was; another column; the cell under pointer and keys; words', { skip }, async () => {
  const own = await scan(12, 6);
  await own.points(30);
  const it = await show(`scan/${own.id}`);
  const { page } = it;
  await page.click('[data-view="map"]');
  await filled(page, 30);
  let map = await drawn(page);
  assert.deepEqual([map.wide, map.high], [12, 3]);
  for (let i = 0; i < 30; i += 1) {
    const { 'stage.x': x, 'stage.y': y, 'pd.voltage': v } = own.row(i);
    assert.equal(map.values[Math.round(y * 2) * 12 + Math.round(x * 10)], v, `point ${i}`);
  }
  assert.equal(map.values.filter((v) => v === null || Number.isNaN(v)).length, 6);
  // The greatest is the lightest; where nothing was measured the ground is seen.
  await own.points(36, (i) => ({ ...own.row(i), 'pd.voltage': i === 40 ? null : own.row(i)['pd.voltage'] }));
  await filled(page, 65);
  await until('the picture', async () => light(await pixel(page, 6, 3)) > light(await pixel(page, 0, 0)) + 80);
  await page.waitForFunction(() => /12 by 6 cells, 65 of them measured\. Least .* V at stage\.x .* mm, stage\.y .* mm\. Greatest/.test(document.querySelector('.map-plot canvas').getAttribute('aria-label')));
  // Keys.
  await page.focus('.map-plot');
  await page.keyboard.press('ArrowRight');
  await page.waitForFunction(() => /stage\.x 0\.0000 mm · stage\.y 0\.0000 mm · pd\.voltage/.test(document.querySelector('[data-map-at]')?.textContent));
  await page.keyboard.press('End');
  await page.keyboard.press('ArrowUp');
  await page.waitForFunction(() => /stage\.x 1\.100 mm · stage\.y 0\.5000 mm/.test(document.querySelector('[data-map-at]')?.textContent));
  assert.match(await page.textContent('#announce'), /stage\.x 1\.100 mm · stage\.y 0\.5000 mm · pd\.voltage 0\.\d+ V/);
  // The pointer, at the point that has no value: line 3 goes backwards, its fifth point is at 7.
  await page.locator('.map-plot').scrollIntoViewIfNeeded();
  const plot = await page.locator('.map-plot canvas').boundingBox();
  await page.mouse.move(plot.x + (7.5 / 12) * plot.width, plot.y + (2.5 / 6) * plot.height);
  await page.waitForFunction(() => /stage\.x 0\.7000 mm · stage\.y 1\.500 mm · pd\.voltage not measured/.test(document.querySelector('[data-map-at]')?.textContent));
  await page.selectOption('[data-choice="map-value"]', 'dmm.current');
  await page.waitForFunction(() => document.querySelector('[data-map-most]')?.textContent === '65.00 mA');
  assert.equal(await page.textContent('[data-map-least]'), '0.0000 mA');
  // Another pass: the newest counts.
  await own.points(6, (i) => ({ ...own.row(i), 'dmm.current': 100 }));
  await filled(page, 72);
  await own.points(2, (i) => ({ ...own.row(i - 72), 'dmm.current': -1 }));
  await until('the second pass', async () => { map = await drawn(page); return map.values[0] === -1 && map.values[1] === -1 && map.values[2] === 2; });
  assert.equal(map.filled, 72);
  // And back.
  await page.click('[data-view="line"]');
  await page.waitForSelector('live-chart .chart-plot');
  await it.clean();
});

test('no map of one axis, or of three', { skip }, async () => {
  for (const columns of [COLUMNS.slice(1), [...COLUMNS, { name: 'T', axis: 2 }]]) {
    const own = await scan(4, 2, columns);
    await own.points(8, (i) => Object.fromEntries(columns.map(({ name }) => [name, own.row(i)[name] ?? 0])));
    const { page } = await show(`scan/${own.id}`);
    await page.waitForSelector('live-chart .chart-plot');
    assert.equal(await page.locator('[data-view]').count(), 0);
  }
});

test('an ended one is there whole, by pages; more than 400 along an axis are means, and said', { skip }, async () => {
  const own = await scan(1_000, 12);
  await own.points(12_000);
  await own.end();
  const it = await show(`scan/${own.id}`);
  const { page } = it;
  const asked = [];
  page.on('request', (request) => { if (request.url().includes('method=raw')) asked.push(request.url()); });
  await page.click('[data-view="map"]');
  await filled(page, 4_800);
  assert.equal(asked.length, 2, String(asked));
  assert.match(await page.textContent('[data-map="binned"]'), /1,000 by 12 points are shown as 400 by 12 cells/);
  assert.match(await page.textContent('#card-chart .card-summary'), /12,000 points/);
  await page.focus('.map-plot');
  await page.keyboard.press('Home');
  await page.waitForFunction(() => /stage\.x 0\.0000 to 0\.2000 mm · .*\(mean of 3 points\)/.test(document.querySelector('[data-map-at]')?.textContent));
  await it.clean();
});

test('accessible in every theme; 390 and 1280 px without overflow; the empty is told from every colour', { skip }, async () => {
  const own = await scan(24, 16);
  await own.points(300);
  for (const [name, device] of [['1280', DESK], ['390', PHONE]]) {
    const it = await show(`scan/${own.id}`, { device });
    const { page } = it;
    await page.click('[data-view="map"]');
    await filled(page, 300);
    await page.focus('.map-plot');
    for (const key of ['Home', 'ArrowUp', 'ArrowUp', 'ArrowRight', 'ArrowRight']) await page.keyboard.press(key);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
    assert.ok(await page.evaluate(() => [...document.querySelectorAll('heat-map *')].every((e) => e.getBoundingClientRect().right <= innerWidth)));
    assert.ok(await page.evaluate(() => [...document.querySelectorAll('heat-map *')].every((e) => parseFloat(getComputedStyle(e).fontSize) >= 14)));
    const check = await axe_of(page);
    for (const theme of ['light', 'dark', 'sun', 'auto']) {
      await page.evaluate(async (theme) => (await import(new URL('js/app.js', location.href).href)).app.choose('theme', theme), theme);
      await page.waitForFunction((theme) => document.querySelector('heat-map').drawn.theme.startsWith(theme), theme);
      assert.deepEqual((await check({ colours_only: theme !== 'light' })).violations, [], `${theme} at ${name} px`);
      if (SHOTS) await page.locator('#card-chart').screenshot({ path: `${SHOTS}/map-${name}-${theme}.png` });
    }
    await it.clean();
  }
});

test('the log of a scan and of a queue is searched as text, like the log page', { skip }, async () => {
  const own = await scan(4, 2);
  let topic = `scan/${own.id}`;
  const say = (message, more = {}) => box.post('/api/events', { type: 'queue_log', topic, payload: { queue_id: 'QUEUE_001', scan_id: own.id, level: 'INFO', timestamp: new Date().toISOString(), message, ...more } });
  await say('stage at <b>home</b>');
  await say('laser warm');
  await say('laser <b>off</b>', { level: 'WARNING' });
  for (const name of [`scan/${own.id}`, 'queue/QUEUE_001']) {
    const it = await show(name);
    const { page } = it;
    const lines = () => page.locator('#card-log log-panel li').allInnerTexts();
    await until('its lines', async () => (await lines()).length >= 3);
    await page.fill('#card-log input[name="text"]', 'LASER');
    await until('only those', async () => { const all = await lines(); return all.length >= 2 && all.every((line) => /laser/.test(line)); });
    const n = (await lines()).length;
    await say('stage away');
    await say('laser cold');
    await until('what comes and fits', async () => (await lines()).length === n + 1);
    assert.ok((await lines()).every((line) => /laser/.test(line)));
    await page.selectOption('#card-log select[name="level"]', 'WARNING');
    await until('both filters', async () => (await lines()).length === 1);
    assert.match((await lines())[0], /laser <b>off<\/b>/);
    assert.equal(await page.inputValue('#card-log input[name="text"]'), 'LASER');
    await page.fill('#card-log input[name="text"]', 'nobody says this');
    await page.locator('#card-log [data-empty="filter"] button').click();
    await until('all of it', async () => (await lines()).length >= 5);
    assert.equal(await page.inputValue('#card-log input[name="text"]'), '');
    await it.clean();
    topic = 'queue/QUEUE_001';
  }
});
