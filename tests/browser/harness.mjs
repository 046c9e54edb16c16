// Starts the real daemon on a free port in a folder of its own, a browser, and a watch over everything the page does
// wrong. Waits on conditions, never for a time. A file of tests begins with `stage`.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
/** How long anything may take before a test fails. */
export const PATIENCE_MS = 20_000;
/** A heartbeat a second, so that faults are noticed in a test's time. */
export const HEARTBEAT_S = 1;
/** The name by which the page is opened where a plain-http name matters; the browser maps it to 127.0.0.1. */
export const NAME = 'telltale.test';

/** Why these tests can't run here, or false. */
export const skip = !existsSync(CHROMIUM) && `no browser at ${CHROMIUM}; install chromium, or set CHROMIUM`;

/** The binary under test. */
export function binary() {
  const found = [process.env.TELLTALE_BIN, join(ROOT, 'target/release/telltale'), join(ROOT, 'target/debug/telltale')].find((p) => p && existsSync(p));
  assert.ok(found, 'no telltale binary: cargo build, or set TELLTALE_BIN');
  return found;
}

/** Repeats `check` until it gives something true. */
export async function until(what, check, patience_ms = PATIENCE_MS) {
  const start = Date.now();
  for (;;) {
    const found = await check();
    if (found) return found;
    assert.ok(Date.now() - start < patience_ms, `waited ${patience_ms} ms for ${what}`);
    await new Promise((ok) => setTimeout(ok, 20));
  }
}

async function free_port() {
  const server = createServer();
  await new Promise((ok) => server.listen(0, '127.0.0.1', ok));
  const { port } = server.address();
  await new Promise((ok) => server.close(ok));
  return port;
}

/**
 * What the tests of a file stand on: a daemon, and the pages they look at. The daemon starts before the first test, pages
 * are closed after the test that opened them, daemon and browser end after the last one. `options` are those of `daemon`,
 * or a function that gives them once what they need is there; null for tests that start daemons of their own. `ready()`
 * is waited for once the daemon serves; `page` are options of every page.
 *
 * `show(hash, options)` opens the page at `#/hash`, or without any when there is no hash; `options.url` instead of the
 * daemon's own. `at(url, options)` opens any address. A second `before` of the file would not wait for the first one.
 */
export function stage(options = {}, { page = {}, ready = () => {} } = {}) {
  const box = options && prepared(options);
  const opened = [];
  before(async () => {
    if (!box || skip) return;
    await Promise.all([box.start(), chrome()]);
    await ready();
  });
  afterEach(async () => {
    for (const it of opened.splice(0)) await it.close();
  });
  after(async () => {
    await (await launched)?.close();
    await box?.close();
  });
  const at = async (url, more = {}) => {
    const it = await open(url, { ...page, ...more });
    opened.push(it);
    return it;
  };
  const show = (hash, { url = box.url, ...more } = {}) => at(hash === undefined ? url : `${url}/#/${hash}`, more);
  return { box, show, at };
}

/** A running daemon with its bench: {port, url, post, get, stop, kill, start}; `start` again keeps port and data. `config` is the text of its file. */
export const daemon = (options) => prepared(options).start();

/** The same before it was started for the first time: it has a port and a folder from then on. */
function prepared(options = {}) {
  const it = { port: 0, data: '', file: '', url: '', log: '', child: null };
  let args = [];
  let env = {};

  const prepare = async () => {
    const { config, ...more } = { args: [], env: {}, ...(typeof options === 'function' ? await options() : options) };
    ({ args, env } = more);
    it.port = await free_port();
    it.url = `http://127.0.0.1:${it.port}`;
    it.data = mkdtempSync(join(tmpdir(), 'telltale-page-'));
    it.file = join(it.data, 'telltale.toml');
    if (!config) return;
    writeFileSync(it.file, config);
    args = ['--config', it.file, ...args];
  };

  it.start = async () => {
    if (!it.port) await prepare();
    const child = spawn(binary(), ['run', '--listen', `127.0.0.1:${it.port}`, '--data', it.data, '--www', join(ROOT, 'www'), ...args], {
      env: { ...process.env, TELLTALE_PUSH_HEARTBEAT: `${HEARTBEAT_S}s`, TELLTALE_HOST_INTERVAL: '1s', TELLTALE_HTTP_HOSTS: NAME, TELLTALE_CLOCK: 'synced', RUST_LOG: 'info', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    it.child = child;
    let said = '';
    child.stdout.on('data', (text) => { said += text; });
    child.stderr.on('data', (text) => { it.log += text; });
    child.on('exit', (code) => { it.log += `\nended with ${code}`; });
    await until('the daemon to serve', () => {
      assert.equal(child.exitCode, null, `the daemon ended:\n${it.log}`);
      return said.includes('listening on');
    });
    return it;
  };
  const end = (signal) => async () => {
    const { child } = it;
    if (!child || child.exitCode !== null || child.signalCode) return;
    const over = new Promise((ok) => child.on('exit', ok));
    child.kill(signal);
    await over;
  };
  it.stop = end('SIGTERM');
  it.kill = end('SIGKILL');
  it.close = async () => {
    await it.kill();
    if (it.data) rmSync(it.data, { recursive: true, force: true });
  };
  it.post = async (path, body) => {
    const answer = await fetch(it.url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
    assert.ok(answer.ok, `${path}: ${answer.status} ${await answer.clone().text()}`);
    return answer.json();
  };
  it.put = async (path, body) => (await fetch(it.url + path, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })).json();
  it.get = async (path) => (await fetch(it.url + path)).json();
  return it;
}

/** The one browser of this file's process, a promise; null until it is wanted. */
let launched = null;

export function chrome() {
  launched ??= chromium.launch({
    executablePath: CHROMIUM,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', `--host-resolver-rules=MAP ${NAME} 127.0.0.1`],
  });
  return launched;
}

export const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
export const DESK = { viewport: { width: 1280, height: 900 } };

/**
 * A page in a context of its own. `faults` collects console errors, refused content and requests to other origins.
 * `lossy` leaves out the browser's own lines about requests that a broken network fails.
 */
async function open(url, { device = DESK, preferences = {}, shared = true, lossy = false, wait = 'live' } = {}) {
  const context = await (await chrome()).newContext(device);
  const faults = [];
  await context.addInitScript(({ preferences, shared }) => {
    if (location.protocol === 'about:') return;
    if (!localStorage.getItem('telltale.preferences')) localStorage.setItem('telltale.preferences', JSON.stringify(preferences));
    if (!shared) delete globalThis.SharedWorker;
    globalThis.refused = [];
    addEventListener('securitypolicyviolation', (event) => globalThis.refused.push(`${event.violatedDirective} ${event.blockedURI}`));
  }, { preferences, shared });
  const watch = (page) => {
    page.on('console', (message) => {
      if (message.type() !== 'error' && message.type() !== 'warning') return;
      if (lossy && /Failed to load resource|net::ERR_/.test(message.text())) return;
      faults.push(`console: ${message.text()}`);
    });
    page.on('pageerror', (error) => faults.push(`error: ${error.stack}`));
  };
  context.on('page', watch);
  context.on('request', (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol !== 'data:' && protocol !== 'blob:' && origin !== new URL(url).origin) faults.push(`off origin: ${request.url()}`);
  });
  const page = await context.newPage();
  await page.goto(url);
  if (wait) await conn(page, wait);
  return {
    context, page, faults,
    /** Fails when anything went wrong on the way. */
    async clean() {
      const refused = await page.evaluate(() => globalThis.refused);
      assert.deepEqual([...faults, ...refused], []);
    },
    close: () => context.close(),
  };
}

/** Waits until the chip shows this state. */
export const conn = (page, state, timeout = PATIENCE_MS) => page.waitForSelector(`[data-conn="${state}"]`, { timeout });

/** A function that gives the bytes of the heap that are in use: what performance.memory says is too coarse and too old. */
export async function heap_of({ context, page }) {
  const cdp = await context.newCDPSession(page);
  await cdp.send('Performance.enable');
  return async () => {
    for (let i = 0; i < 3; i += 1) await cdp.send('HeapProfiler.collectGarbage');
    return (await cdp.send('Performance.getMetrics')).metrics.find((m) => m.name === 'JSHeapUsedSize').value;
  };
}

/**
 * A function that looks for what is not accessible: {violations, passes}. `colours_only` leaves out what no theme changes,
 * for a page that was looked at whole in another theme; `strong` asks for a contrast of 7:1 besides.
 */
export async function axe_of(page) {
  await page.evaluate(readFileSync(new URL('./node_modules/axe-core/axe.min.js', import.meta.url), 'utf8'));
  return ({ colours_only = false, strong = false } = {}) => page.evaluate(async (rules) => {
    const { violations, passes } = await globalThis.axe.run(document, { resultTypes: ['violations'], ...(rules ? { runOnly: { type: 'rule', values: rules } } : {}) });
    return { passes: passes.length, violations: violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.any[0]?.message ?? ''}`).join(' | ')}`) };
  }, colours_only ? ['color-contrast', 'link-in-text-block', ...(strong ? ['color-contrast-enhanced'] : [])] : null);
}

/** The present state of the chip. */
export const conn_now = (page) => page.getAttribute('[data-conn]', 'data-conn');

/** Goes to a page by its address, such as `log` or `system/config`. */
export async function visit(page, name) {
  await page.evaluate((to) => { location.hash = `#/${to}`; }, name);
  await page.waitForSelector(`main[data-at="${name.split('?')[0]}"] :is(.card, .attention)`);
}

/** Notes every state the chip shows from now on: [state, ms]. */
export async function record_conn(page) {
  await page.evaluate(() => {
    globalThis.states = [[document.querySelector('[data-conn]').dataset.conn, performance.now()]];
    new MutationObserver(() => {
      const now = document.querySelector('[data-conn]')?.dataset.conn;
      if (now && now !== globalThis.states.at(-1)[0]) globalThis.states.push([now, performance.now()]);
    }).observe(document.getElementById('chip'), { subtree: true, childList: true, attributes: true });
  });
  return () => page.evaluate(() => globalThis.states);
}

/** Collects the ids of `note` records on app/test that the page is given. */
export async function collect_notes(page) {
  await page.evaluate(async () => {
    const { app } = await import(new URL('js/app.js', location.href).href);
    globalThis.notes = [];
    app.store.listen((envelope) => { if (envelope.type === 'note') globalThis.notes.push([envelope.id, envelope.payload.n]); });
    app.connection.want(['app/test'], { types: ['note'] });
  });
  await page.waitForFunction(async () => {
    const { app } = await import(new URL('js/app.js', location.href).href);
    app.connection.refresh();
    return app.store.link.topics?.includes('app/test') && app.store.link.status === 'live' && app.store.complete;
  }, null, { polling: 100 });
  return () => page.evaluate(() => globalThis.notes);
}

/** Publishes notes n..n+count-1. */
export async function publish_notes(on, from, count) {
  for (let n = from; n < from + count; n += 1) await on.post('/api/events', { type: 'note', topic: 'app/test', payload: { n } });
}
