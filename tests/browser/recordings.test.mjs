// The page of recordings against the real daemon, its bench and WAV files of our own: the list, the filters, the player,
// clips, the bin, many at once.

import assert from 'node:assert/strict';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DESK, PHONE, axe_of, daemon, skip, stage, until } from './harness.mjs';

const RATE = 8_000;

let folder;
const { box, show: open } = stage({}, {
  page: { lossy: true },
  ready: async () => {
    folder = (await until('the folder of the bench', async () => (await box.get('/api/recordings?limit=1')).summary)).folder;
    mkdirSync(folder, { recursive: true });
  },
});

/** A WAV of silence and then, from `loud_from_s`, a tone. */
function wav(seconds, { loud_from_s = 0 } = {}) {
  const frames = Math.round(seconds * RATE);
  const bytes = Buffer.alloc(44 + 2 * frames);
  bytes.write('RIFF', 0);
  bytes.writeUInt32LE(36 + 2 * frames, 4);
  bytes.write('WAVEfmt ', 8);
  bytes.writeUInt32LE(16, 16);
  for (const [at, value] of [[20, 1], [22, 1], [32, 2], [34, 16]]) bytes.writeUInt16LE(value, at);
  bytes.writeUInt32LE(RATE, 24);
  bytes.writeUInt32LE(2 * RATE, 28);
  bytes.write('data', 36);
  bytes.writeUInt32LE(2 * frames, 40);
  for (let i = Math.round(loud_from_s * RATE); i < frames; i += 1) bytes.writeInt16LE(Math.round(20_000 * Math.sin((2 * Math.PI * 440 * i) / RATE)), 44 + 2 * i);
  return bytes;
}

/** Puts a recording into the watched folder and waits until the daemon has it, finished. */
async function put(name, seconds, { loud_from_s, ...sidecar } = {}) {
  if (Object.keys(sidecar).length) writeFileSync(join(folder, `${name}.json`), JSON.stringify(sidecar));
  writeFileSync(join(folder, name), wav(seconds, { loud_from_s }));
  return until(`${name} to be listed`, () => find(name));
}
const find = async (name, query = '') => (await box.get(`/api/recordings?text=${encodeURIComponent(name)}${query}`)).items.find((r) => r.name === name && !r.growing);

async function show(hash = 'recordings', options = {}) {
  const it = await open(hash, options);
  const { page } = it;
  await page.waitForSelector('.recs, [data-empty]:not([data-empty="loading"]), .rec-open');
  return { ...it, page, row: (id) => page.locator(`.rec[data-id="${id}"]`) };
}

/** The page's own player and list. */
const inside = (page, read) => page.evaluate(`import(new URL('js/app.js', location.href).href).then(({ app }) => { const { page } = app.router.view; return (${read}); })`);
const position = (page) => inside(page, 'page.playback.audio?.currentTime ?? page.playback.position_s');
const ids = (page) => page.$$eval('.rec', (rows) => rows.map((row) => row.dataset.id));
const hash = (page) => page.evaluate(() => location.hash);

async function play(it, recording) {
  const { page } = it;
  await page.waitForSelector('.player[data-wave="ready"]');
  await page.click('[data-key="play"]');
  await until('the sound to move', async () => (await position(page)) > 0.2);
  return recording;
}

test('the bench records into real files: a growing row on top counts on, and ends in its place', { skip }, async () => {
  const it = await show();
  const { page } = it;
  const live = await until('something that grows', async () => (await box.get('/api/recordings')).items.find((r) => r.growing), 60_000);
  await page.waitForSelector('.live-line[data-live]:not([data-live="0"])');
  const name = await page.innerText('.live-name');
  assert.equal(name, live.name);
  const shown = () => page.innerText('[data-live-length]');
  const first = await shown();
  await until('the length to grow', async () => (await shown()) !== first);
  const fresh = page.locator('[data-fresh]');
  if (await fresh.count()) await fresh.click();
  const row = page.locator(`.rec[data-id="${live.recording_id}"]`);
  await row.waitFor();
  await until('the end of the recording', async () => !(await box.get(`/api/recordings/${live.recording_id}`)).growing, 110_000);
  await page.waitForFunction((id) => !document.querySelector(`.rec[data-id="${id}"]`).hasAttribute('data-growing'), live.recording_id);
  await it.clean();
});

test('filters stand in the address: reload, link, back, and a bare address is as it was left', { skip }, async () => {
  const owl = await put('filter-owl.wav', 4, { triggers: ['level'], transcript: 'two calls of an owl' });
  await put('filter-fox.wav', 2, { triggers: ['motion'] });
  const it = await show();
  const { page } = it;
  await page.fill('[data-filter="text"]', 'calls of an');
  await page.waitForFunction(() => location.hash.includes('text=calls+of+an'));
  await until('only the owl', async () => (await ids(page)).join() === owl.recording_id);
  await page.reload();
  await page.waitForSelector('.rec');
  assert.equal(await page.inputValue('[data-filter="text"]'), 'calls of an');
  assert.deepEqual(await ids(page), [owl.recording_id]);
  await page.click('.rec-main');
  await page.waitForSelector('.rec-open');
  assert.equal(await hash(page), `#/recordings/${owl.recording_id}?text=calls+of+an`);
  await page.goBack();
  await page.waitForSelector('.rec-open', { state: 'detached' });
  assert.equal(await hash(page), '#/recordings?text=calls+of+an');
  await page.evaluate(() => { location.hash = '#/overview'; });
  await page.waitForSelector('#card-attention');
  await page.evaluate(() => { location.hash = '#/recordings'; });
  await page.waitForFunction(() => location.hash === '#/recordings?text=calls+of+an');
  await page.click('[data-filter="clear"]');
  await page.waitForFunction(() => location.hash === '#/recordings');

  await page.click('[data-filter="more"]');
  await page.selectOption('[data-filter="trigger"]', 'motion');
  await page.waitForFunction(() => location.hash.includes('trigger=motion'));
  await page.fill('[data-filter="text"]', 'filter-');
  await until('only the fox', async () => (await page.locator('.rec').count()) === 1 && /fox/.test(await page.innerText('.rec')));
  await page.fill('[data-filter="min_s"]', '3');
  await page.waitForSelector('[data-empty="filter"]');
  await page.click('[data-clear]');
  await page.waitForFunction(() => location.hash === '#/recordings' && document.querySelectorAll('.rec').length > 1);
  await page.selectOption('[data-filter="sort"]', 'name');
  await page.click('[data-filter="direction"]');
  await page.waitForFunction(() => location.hash === '#/recordings?sort=name');
  await until('them in order', async () => {
    const names = await page.$$eval('.rec-title', (all) => all.map((e) => e.textContent));
    return names.length > 1 && names.join() === [...names].sort().join();
  });
  await it.clean();
});

test('four kinds of nothing: loading, an error with a retry, no match, and never had any', { skip }, async () => {
  const it = await show();
  const { page, context } = it;
  let hold = true;
  await context.route('**/api/recordings?**', async (route) => {
    await until('leave to go on', () => !hold);
    return route.abort();
  });
  await page.evaluate(() => { location.hash = '#/overview'; });
  await page.waitForSelector('#card-attention');
  await page.evaluate(() => { location.hash = '#/recordings'; });
  await page.waitForSelector('#card-recordings [data-empty="loading"]');
  hold = false;
  await page.waitForSelector('#card-recordings [data-empty="error"]');
  assert.match(await page.innerText('#card-recordings [data-empty="error"]'), /box was not reached/);
  await context.unroute('**/api/recordings?**');
  await page.click('#card-recordings [data-empty="error"] button');
  await page.waitForSelector('.rec');

  const bare = await daemon({ args: ['--no-bench'] });
  try {
    const other = await open('recordings', { url: bare.url });
    await other.page.waitForSelector('#card-recordings [data-empty="none"]');
    assert.match(await other.page.innerText('#card-recordings [data-empty="none"]'), /folder.*configuration/);
  } finally {
    await bare.close();
  }
});

test('what is new is counted, nothing moves until it is asked for, and nothing while a finger is down', { skip }, async () => {
  const [a, b] = [await put('still-a.wav', 1), await put('still-b.wav', 1)];
  const it = await show('recordings?text=still-&sort=name');
  const { page } = it;
  assert.deepEqual(await ids(page), [a.recording_id, b.recording_id]);
  const row = await it.row(b.recording_id).boundingBox();
  // What is told of recordings is kept back until the finger is down: a press holds the page still for 1.5 s only.
  await page.evaluate(async () => {
    const { app } = await import(new URL('js/app.js', location.href).href);
    const take = app.store.take.bind(app.store);
    globalThis.kept = [];
    app.store.take = (items) => {
      const of_recordings = (i) => i.envelope?.type === 'recording_changed';
      globalThis.kept.push(...items.filter(of_recordings));
      return take(items.filter((i) => !of_recordings(i)));
    };
    globalThis.tell = () => {
      app.store.take = take;
      take(globalThis.kept);
    };
  });
  writeFileSync(join(folder, 'still-aa.wav'), wav(1));
  await until('the new one', () => find('still-aa.wav'));
  await page.waitForFunction(() => JSON.stringify(globalThis.kept).includes('still-aa.wav'));
  await page.mouse.move(row.x + 300, row.y + 20);
  await page.mouse.down();
  // Without a finger it would be drawn within a quarter of a second.
  const drawn = await page.evaluate(async () => {
    globalThis.tell();
    for (const start = performance.now(); performance.now() - start < 600;) await new Promise((ok) => setTimeout(ok, 20));
    return document.querySelectorAll('[data-fresh]').length;
  });
  assert.equal(drawn, 0, 'nothing is drawn under a finger');
  await page.mouse.move(row.x + 300, row.y + 400);
  await page.mouse.up();
  await page.waitForSelector('[data-fresh="1"]');
  const before = await find('still-aa.wav');
  assert.deepEqual(await ids(page), [a.recording_id, b.recording_id]);
  assert.deepEqual(await it.row(b.recording_id).boundingBox(), row, 'the row is where it was');
  await page.click('[data-fresh]');
  await until('the new one', async () => (await ids(page)).join() === [a, before, b].map((r) => r.recording_id).join());
  assert.equal(await page.locator('[data-fresh]').count(), 0);
  await it.clean();
});

test('half-typed text, focus and scroll survive what happens meanwhile', { skip }, async () => {
  for (let i = 0; i < 14; i += 1) writeFileSync(join(folder, `busy-${String(i).padStart(2, '0')}.wav`), wav(1));
  const first = await until('the files', () => find('busy-13.wav'));
  const it = await show('recordings?text=busy-&sort=name');
  const { page } = it;
  await page.waitForFunction(() => document.querySelectorAll('.rec').length >= 14);
  await page.evaluate(() => scrollTo(0, 420));
  const at = await page.evaluate(() => scrollY);
  await page.locator(`.rec[data-id="${first.recording_id}"] .rec-main`).evaluate((e) => e.focus({ preventScroll: true }));
  for (const label of ['one', 'two', 'three']) {
    await fetch(`${box.url}/api/recordings/${first.recording_id}`, { method: 'PATCH', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ label }) });
    await it.row(first.recording_id).locator('.rec-title', { hasText: label }).waitFor();
  }
  assert.equal(await page.evaluate(() => scrollY), at);
  assert.equal(await page.evaluate(() => document.activeElement.closest('.rec')?.dataset.id), first.recording_id);

  // A name that is being typed while its recording changes.
  await page.evaluate((id) => { location.hash = `#/recordings/${id}?text=busy-`; }, first.recording_id);
  await page.click('[data-key="rename"]');
  await page.fill('#dialog-text', 'half a na');
  await fetch(`${box.url}/api/recordings/${first.recording_id}`, { method: 'PATCH', headers: { 'content-type': 'application/json' }, body: '{"label":"four"}' });
  await it.row(first.recording_id).locator('.rec-title', { hasText: 'four' }).waitFor();
  assert.equal(await page.inputValue('#dialog-text'), 'half a na');
  await page.fill('#dialog-text', 'a/b');
  await page.click('dialog [data-confirm]');
  assert.match(await page.innerText('#dialog-fault'), /slash/);
  await page.fill('#dialog-text', 'busy-00');
  await page.click('dialog [data-confirm]');
  await until('the refusal of the daemon', async () => (await page.innerText('#dialog-fault')).length > 10);
  assert.equal(await page.inputValue('#dialog-text'), 'busy-00', 'what was typed stays');
  await page.fill('#dialog-text', 'busy-renamed');
  await page.click('dialog [data-confirm]');
  await page.waitForSelector('dialog', { state: 'detached' });
  assert.ok(await until('the file', () => existsSync(join(folder, 'busy-renamed.wav'))));
  assert.equal((await box.get(`/api/recordings/${first.recording_id}`)).name, 'busy-renamed.wav');
  // And the filter, letter by letter.
  await page.click('[data-filter="text"]');
  await page.keyboard.type('r', { delay: 30 });
  await fetch(`${box.url}/api/recordings/${first.recording_id}`, { method: 'PATCH', headers: { 'content-type': 'application/json' }, body: '{"label":null}' });
  await page.keyboard.type('enamed', { delay: 60 });
  assert.match(await page.inputValue('[data-filter="text"]'), /renamed/);
});

test('it plays, from ranges; seeks by the waveform; speed; keys; and goes on whatever the list does', { skip }, async () => {
  const r = await put('play-me.wav', 60, { started_at: '2026-01-07T15:30:00.000Z', markers: [{ at_s: 20, kind: 'trigger', label: 'level' }, { at_s: 30, until_s: 40, kind: 'motion' }] });
  const it = await show(`recordings/${r.recording_id}?text=play-`);
  const { page } = it;
  const ranges = [];
  page.on('response', (answer) => {
    if (answer.url().includes('/audio')) ranges.push([answer.status(), answer.request().headers().range]);
  });
  await play(it, r);
  assert.ok(ranges.some(([status, range]) => status === 206 && /^bytes=\d+-/.test(range)), JSON.stringify(ranges));
  const first = await position(page);
  await until('it to go on', async () => (await position(page)) > first + 0.5);
  await inside(page, 'void (globalThis.element = page.playback.audio)');

  const wave = await page.locator('.wave-seek').boundingBox();
  await page.mouse.click(wave.x + wave.width * 0.75, wave.y + 40);
  await until('the place', async () => Math.abs((await position(page)) - 45) < 2.5);
  assert.equal(await page.getAttribute('.wave-seek', 'role'), 'slider');
  await until('the slider to say it', async () => Math.abs(Number(await page.getAttribute('.wave-seek', 'aria-valuenow')) - 45) < 4);
  assert.match(await page.getAttribute('wave-form canvas', 'aria-label'), /triggers: 1, spans of motion: 1/);

  await page.selectOption('[data-set="rate"]', '2');
  assert.equal(await inside(page, 'page.playback.audio.playbackRate'), 2);
  await page.selectOption('[data-set="rate"]', '1');
  await page.locator('.rec-title').first().evaluate((e) => e.closest('a').focus());
  await page.keyboard.press('k');
  await until('a pause', () => inside(page, 'page.playback.audio.paused'));
  await page.keyboard.press('Home');
  await until('the start', async () => (await position(page)) < 0.1);
  await page.keyboard.press('l');
  await page.keyboard.press('l');
  await page.keyboard.press('j');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Shift+ArrowLeft');
  await until('the sum of the steps', async () => Math.abs((await position(page)) - 14) < 0.1);
  await until('the words', async () => (await page.innerText('[data-position]')) === '0:14.0');
  await page.click('.markers summary');
  await page.click('[data-marker="trigger"]');
  await until('the mark', async () => Math.abs((await position(page)) - 20) < 0.1);
  await page.locator('.player-clock', { hasText: ':30:20' }).waitFor();
  await page.focus('[data-filter="text"]');
  await page.keyboard.press('End');
  await page.keyboard.type('jkl');
  assert.ok(Math.abs((await position(page)) - 20) < 0.1, 'keys in a field are for the field');

  // The list is empty now; what plays does not care.
  await page.waitForSelector('[data-empty="filter"]');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press(' ');
  await until('it to play', async () => (await position(page)) > 20.3);
  await page.fill('[data-filter="text"]', 'play-');
  await it.row(r.recording_id).locator('.player').waitFor();
  await put('play-other.wav', 1);
  await page.waitForSelector('[data-fresh]');
  await page.click('[data-fresh]');
  const before = await position(page);
  await until('it to go on', async () => (await position(page)) > before + 0.3);
  assert.ok(await inside(page, 'page.playback.audio === globalThis.element && !page.playback.audio.paused'), 'the same element, still playing');
  await page.evaluate(() => { location.hash = '#/overview'; });
  await page.waitForSelector('#card-attention');
  assert.ok(await page.evaluate(() => globalThis.element.paused), 'leaving the page is silence');
  await it.clean();
});

/** Share of dark columns in the left and the right half of the waveform, at its middle height; and how sharp it is. */
const ink = (page) => page.evaluate(() => {
  const canvas = document.querySelector('wave-form canvas');
  const { width, height } = canvas;
  const copy = Object.assign(document.createElement('canvas'), { width, height }).getContext('2d', { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const row = copy.getImageData(0, Math.round(height * 0.3), width, 1).data;
  const dark = (from, to) => {
    let n = 0;
    for (let x = from; x < to; x += 1) if (row[4 * x + 3] > 0 && row[4 * x] < 90 && row[4 * x + 1] < 110 && row[4 * x + 2] < 110) n += 1;
    return n / (to - from);
  };
  return { left: dark(0, width / 2), right: dark(width / 2, width), scale: width / canvas.clientWidth };
});

test('the waveform shows what is there, as sharp as the screen, also zoomed in', { skip }, async () => {
  const r = await put('wave.wav', 40, { loud_from_s: 20 });
  for (const device of [DESK, PHONE]) {
    const it = await show(`recordings/${r.recording_id}`, { device, preferences: { theme: 'light' } });
    const { page } = it;
    await page.waitForSelector('.player[data-wave="ready"]');
    const seen = await until('the waveform', async () => {
      const now = await ink(page);
      return now.right > 0.8 && now;
    });
    assert.ok(seen.left < 0.1, JSON.stringify(seen));
    assert.equal(Math.round(seen.scale), device.deviceScaleFactor ?? 1);
    // Silence made higher is silence still; the tone fills the height.
    await page.locator('[data-set="gain"]').fill('30');
    await until('the height', () => inside(page, 'page.ui.gain === 30'));
    assert.ok((await ink(page)).left < 0.1);
    const asked = page.waitForRequest((request) => /waveform\?.*from_s=/.test(request.url()), { timeout: 20_000 });
    for (let i = 0; i < 6; i += 1) await page.click('[data-key="in"]');
    await until('a zoom of 64', () => inside(page, 'page.ui.zoom === 64'));
    await asked;
    await until('the part', () => inside(page, 'page.opened.wave.detail?.until_s - page.opened.wave.detail?.from_s < 1'));
    await it.clean();
  }
});

test('a finger that goes sideways scrubs; one that goes up scrolls the page and seeks nothing', { skip }, async () => {
  const r = await put('touch.wav', 40);
  const it = await show(`recordings/${r.recording_id}?text=touch`, { device: PHONE });
  const { page, context } = it;
  await page.waitForSelector('.player[data-wave="ready"]');
  await page.locator('wave-form').scrollIntoViewIfNeeded();
  const cdp = await context.newCDPSession(page);
  const box_of = await page.locator('.wave-seek').boundingBox();
  const swipe = async (dx, dy) => {
    const [x, y] = [box_of.x + box_of.width / 2, box_of.y + box_of.height / 2];
    await cdp.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: [{ x, y }] });
    for (let i = 1; i <= 8; i += 1) {
      await cdp.send('Input.dispatchTouchEvent', { type: 'touchMove', touchPoints: [{ x: x + (dx * i) / 8, y: y + (dy * i) / 8 }] });
      await page.evaluate(() => new Promise(requestAnimationFrame));
    }
    await cdp.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
  };
  const before = await page.evaluate(() => scrollY);
  await swipe(4, -160);
  await until('the page to scroll', () => page.evaluate((y) => scrollY > y + 40, before));
  assert.equal(await position(page), 0, 'nothing was sought');
  // The page rolls on for a while after a swipe.
  let last = null;
  await until('the page to rest', async () => {
    const now = await page.evaluate(() => new Promise((ok) => setTimeout(() => ok(scrollY), 150)));
    const rests = now === last;
    last = now;
    return rests;
  });
  await page.evaluate((y) => scrollTo(0, y), before);
  await swipe(box_of.width / 4, 3);
  await until('the place', async () => Math.abs((await position(page)) - 30) < 2);
  assert.equal(await page.evaluate(() => scrollY), before);
});

test('what grows can be played, its waveform grows with it, and it goes on past what was its end', { skip }, async () => {
  // As a recorder writes: the header does not say how long it will be, the file stays open.
  const sound = wav(60).subarray(44);
  const header = wav(0);
  const file = openSync(join(folder, 'growing.wav'), 'w');
  writeSync(file, header);
  let written = 0;
  const grow = (seconds) => { written += writeSync(file, sound, written, 2 * RATE * seconds); };
  grow(3);
  const clock = setInterval(() => written < sound.length - 2 * RATE && grow(0.25), 250);
  try {
    const live = await until('it to grow', async () => (await box.get('/api/recordings?text=growing.wav')).items.find((r) => r.growing && r.duration_s > 3));
    const it = await show(`recordings/${live.recording_id}`);
    const { page } = it;
    const asked = [];
    page.on('request', (request) => {
      if (/\/waveform\?points/.test(request.url())) asked.push(Date.now());
    });
    await page.waitForSelector('.player[data-wave="ready"]');
    const known = await inside(page, 'page.playback.duration_s');
    await inside(page, 'page.playback.seek(Math.max(0, page.playback.duration_s - 1.5))');
    await page.click('[data-key="play"]');
    await until('it to pass what was its end', async () => (await position(page)) > known + 0.5, 40_000);
    await until('the waveform to be as long', () => inside(page, `page.opened.wave.data.duration_s > ${known} + 1`));
    for (const [i, at] of asked.entries()) if (i) assert.ok(at - asked[i - 1] > 2_500, `asked ${at - asked[i - 1]} ms apart`);
    // It ends: heard to the end, then it stands still.
    clearInterval(clock);
    closeSync(file);
    await until('its end to be known', () => inside(page, '!page.opened.recording.growing'));
    await inside(page, 'page.playback.seek(page.playback.duration_s - 0.5)');
    await until('the end', () => inside(page, '!page.playback.playing && page.playback.at_end()'));
    await it.clean();
  } finally {
    clearInterval(clock);
  }
});

test('a clip: ends from the playhead and by dragging, a name, its link; then in place of the original, and undone', { skip }, async () => {
  const r = await put('cut-me.wav', 20);
  const it = await show(`recordings/${r.recording_id}?text=cut`);
  const { page } = it;
  await page.waitForSelector('.player[data-wave="ready"]');
  await page.click('[data-key="clip"]');
  await page.waitForSelector('.clip-editor');
  await page.locator('.rec-main').first().evaluate((e) => e.focus({ preventScroll: true }));
  await page.keyboard.press('ArrowRight');
  await page.click('[data-here="start"]');
  await until('the start', async () => (await page.inputValue('[data-clip="start"]')) === '0:05.0');
  const end = await page.locator('.wave-handle.end').boundingBox();
  const wave = await page.locator('.wave-seek').boundingBox();
  assert.ok(end.width >= 44);
  await page.mouse.move(end.x + 12, end.y + 20);
  await page.mouse.down();
  await page.mouse.move(end.x + 12 + wave.width * 0.1, end.y + 20, { steps: 5 });
  await page.mouse.up();
  await until('the end', async () => (await page.inputValue('[data-clip="end"]')) === '0:12.0');
  await page.fill('[data-clip="end"]', 'soon');
  await page.locator('.clip-editor .note[data-tone="bad"]', { hasText: 'times such as' }).waitFor();
  assert.equal(await page.getAttribute('[data-command="clip"]', 'aria-disabled'), 'true');
  await page.fill('[data-clip="end"]', '12');
  await page.fill('[data-clip="name"]', 'cut-result');
  await page.waitForSelector('[data-command="clip"][aria-disabled="false"]');
  await page.click('[data-command="clip"]');
  await page.waitForSelector('[data-clip-made] a');
  const made = await until('the clip', () => find('cut-result.wav'));
  assert.ok(Math.abs(made.duration_s - 7) < 0.01, String(made.duration_s));
  assert.match(await page.getAttribute('[data-clip-made] a', 'href'), new RegExp(made.recording_id));

  const sent = [];
  page.on('request', (request) => { if (request.url().endsWith('/clip')) sent.push(request.postDataJSON()); });
  await page.click('label:has([data-clip="overwrite"])');
  await page.locator('[data-command="clip"]', { hasText: 'Replace the original' }).waitFor();
  await page.click('[data-command="clip"]');
  await page.waitForSelector('dialog[open]');
  assert.match(await page.innerText('dialog[open]'), /Only 0:05\.0 to 0:12\.0 stays/);
  assert.equal(sent.length, 0);
  await page.click('dialog [data-confirm]');
  await page.waitForSelector('[data-clip-made] [data-command="restore"]');
  assert.deepEqual([sent.length, sent[0].overwrite, sent[0].start_s, sent[0].end_s], [1, true, 5, 12]);
  assert.ok((await box.get(`/api/recordings/${r.recording_id}`)).binned_at, 'the original is in the bin');
  await page.click('[data-clip-made] [data-command="restore"]');
  await until('the original', async () => (await box.get(`/api/recordings/${r.recording_id}`)).binned_at === null);
  assert.ok(Math.abs((await box.get(`/api/recordings/${r.recording_id}`)).duration_s - 20) < 0.01);
});

test('the bin: a row that goes stays where it is; listen, restore; for good only after the second step', { skip }, async () => {
  const [a, b] = [await put('bin-a.wav', 3), await put('bin-b.wav', 3)];
  const it = await show('recordings?text=bin-&sort=name');
  const { page } = it;
  const sent = [];
  page.on('request', (request) => { if (request.method() === 'DELETE') sent.push(request.url()); });
  await it.row(a.recording_id).locator('[data-command="pin"]').click();
  await it.row(a.recording_id).locator('[data-command="unpin"][aria-pressed="true"]').waitFor();
  await it.row(a.recording_id).locator('.rec-main').click();
  const bin = page.locator('.rec-open [data-command="bin"]');
  assert.equal(await bin.getAttribute('aria-disabled'), 'true');
  assert.match(await bin.getAttribute('title'), /unpin it first/);
  await page.locator('.rec-open [data-command="unpin"]').click();
  await page.waitForSelector('.rec-open [data-command="bin"][aria-disabled="false"]');
  await bin.click();
  await it.row(a.recording_id).locator('.chip', { hasText: 'In the bin' }).waitFor();
  assert.deepEqual(await ids(page), [a.recording_id, b.recording_id]);
  await until('the file to be away', () => !existsSync(join(folder, 'bin-a.wav')));

  await page.evaluate((id) => { location.hash = `#/recordings/${id}?bin=true&text=bin-`; }, a.recording_id);
  await it.row(a.recording_id).locator('.player[data-wave="ready"]').waitFor();
  await page.click('[data-key="play"]');
  await until('it to play from the bin', async () => (await position(page)) > 0.2);
  const purge = page.locator('.rec-open [data-command="purge"]');
  await purge.click();
  await page.waitForSelector('dialog[open]');
  assert.match(await page.innerText('dialog[open]'), /Delete bin-a\.wav for good\?[\s\S]*cannot be undone/);
  assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), 'Cancel');
  await page.keyboard.press('Escape');
  await page.waitForSelector('dialog', { state: 'detached' });
  assert.equal(sent.filter((url) => url.includes('purge')).length, 0);
  await page.locator('.rec-open [data-command="restore"]').click();
  await until('the file to be back', () => existsSync(join(folder, 'bin-a.wav')));
  await it.row(a.recording_id).locator('.chip', { hasText: 'Restored' }).waitFor();

  await fetch(`${box.url}/api/recordings/${b.recording_id}`, { method: 'DELETE' });
  await page.waitForSelector('[data-fresh]');
  await page.click('[data-fresh]');
  await it.row(b.recording_id).locator('.rec-main').click();
  await it.row(b.recording_id).locator('[data-command="purge"]').click();
  await page.click('dialog [data-confirm]');
  await it.row(b.recording_id).locator('.chip', { hasText: 'Purged' }).waitFor();
  assert.equal(sent.filter((url) => url.includes('purge=true')).length, 1);
  assert.equal((await fetch(`${box.url}/api/recordings/${b.recording_id}`)).status, 404);
});

test('several: from here to there with shift, downloaded, pinned, and binned after the second step', { skip }, async () => {
  const all = [];
  for (const name of ['many-1.wav', 'many-2.wav', 'many-3.wav', 'many-4.wav']) all.push(await put(name, 1));
  const it = await show('recordings?text=many-&sort=name');
  const { page } = it;
  const tops = () => page.$$eval('.rec', (rows) => rows.map((row) => row.getBoundingClientRect().top));
  const before = await tops();
  await it.row(all[0].recording_id).locator('.rec-check').click();
  await page.waitForSelector('[data-chosen="1"]');
  assert.deepEqual(await tops(), before, 'no row moves');
  await it.row(all[2].recording_id).locator('.rec-check').click({ modifiers: ['Shift'] });
  await page.waitForSelector('[data-chosen="3"]');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('[data-many="zip"]')]);
  assert.match(download.suggestedFilename(), /^recordings-.*\.zip$/);
  const zip = readFileSync(await download.path());
  assert.equal(zip.subarray(0, 2).toString(), 'PK');
  for (const { name } of all.slice(0, 3)) assert.ok(zip.includes(name), name);
  assert.ok(zip.length > 3 * statSync(join(folder, 'many-1.wav')).size);
  await page.click('[data-many="pin"]');
  await page.waitForSelector('[data-many-done="3"]');
  await page.waitForFunction(() => document.querySelectorAll('.rec [aria-pressed="true"]').length === 3);
  await page.click('[data-many-done] button');

  // One that is pinned is refused, by name and with the reason; the others go.
  await fetch(`${box.url}/api/recordings/${all[0].recording_id}`, { method: 'PATCH', headers: { 'content-type': 'application/json' }, body: '{"pinned":false}' });
  await it.row(all[0].recording_id).locator('.rec-check').click();
  await it.row(all[1].recording_id).locator('.rec-check').click();
  await page.waitForSelector('[data-chosen="2"]');
  const sent = [];
  page.on('request', (request) => { if (request.method() === 'DELETE') sent.push(request.url()); });
  await page.click('[data-many="bin"]');
  assert.match(await page.innerText('dialog[open]'), /Move 2 recordings to the bin\?/);
  assert.equal(sent.length, 0);
  await page.click('dialog [data-confirm]');
  await page.waitForSelector('[data-many-done="1"]');
  assert.equal(sent.length, 2);
  assert.match(await page.innerText('[data-many-done]'), /1 of 2 done\. many-2\.wav: .*pinned/);
});

test('of many only a page is drawn; the pages say where one is', { skip }, async () => {
  for (let i = 0; i < 130; i += 1) writeFileSync(join(folder, `page-${String(i).padStart(3, '0')}.wav`), wav(0.2));
  await until('all of them', async () => (await box.get('/api/recordings?text=page-&limit=1')).total === 130);
  const it = await show('recordings?text=page-&sort=name');
  const { page } = it;
  await page.waitForFunction(() => document.querySelectorAll('.rec').length === 100);
  assert.equal(await page.innerText('[data-range]'), '1–100 of 130');
  await page.click('[data-page="next"]');
  await page.waitForFunction(() => document.querySelector('[data-range]').textContent === '101–130 of 130');
  assert.equal(await page.locator('.rec').count(), 30);
  assert.equal(await page.getAttribute('[data-page="next"]', 'aria-disabled'), 'true');
  await page.click('[data-page="previous"]');
  await page.waitForFunction(() => document.querySelector('[data-range]').textContent === '1–100 of 130');
  await it.clean();
});

test('an open player is accessible in every theme, within 320 px, with targets of 44 px', { skip }, async () => {
  const r = await put('axe.wav', 8, { markers: [{ at_s: 1, kind: 'trigger', label: 'level' }, { at_s: 2, until_s: 3, kind: 'motion' }], triggers: ['level'], transcript: 'a word' });
  for (const width of [320, 1280]) {
    const it = await show(`recordings/${r.recording_id}?text=axe`, { device: width === 320 ? { ...PHONE, viewport: { width, height: 700 } } : DESK, preferences: { language: width === 320 ? 'de' : 'en' } });
    const { page } = it;
    await page.waitForSelector('.player[data-wave="ready"]');
    await page.click('[data-key="clip"]');
    await page.click('.markers summary');
    await page.click('[data-filter="more"]');
    await it.row(r.recording_id).locator('.rec-check').click();
    await page.waitForSelector('[data-chosen="1"]');
    const check = await axe_of(page);
    for (const theme of ['light', 'dark', 'sun']) {
      await page.evaluate(async (name) => (await import(new URL('js/app.js', location.href).href)).app.choose('theme', name), theme);
      await page.waitForFunction(() => !document.getAnimations().some((a) => a instanceof CSSTransition));
      assert.deepEqual((await check({ colours_only: theme !== 'light' })).violations, [], `${theme} at ${width} px`);
    }
    const found = await page.evaluate(() => ({
      scroll: document.documentElement.scrollWidth - innerWidth,
      small: [...document.querySelectorAll('main :is(a, button, select, summary, input:not([type=checkbox]), label.option, .rec-check, [role=slider])')].filter((e) => {
        const box = e.getBoundingClientRect();
        return box.width && !(e.matches('a') && e.closest('p') && !e.matches('.button')) && (box.height < 44 || box.width < 44);
      }).map((e) => `${e.tagName}.${e.className} ${e.textContent.slice(0, 30)}`),
    }));
    assert.deepEqual(found, { scroll: 0, small: [] }, `${width} px`);
  }
});
