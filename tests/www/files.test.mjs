// What is served: its size, its origins, what is vendored, who may talk to the network.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, appendFileSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const WWW = fileURLToPath(new URL('../../www/', import.meta.url));
const BUDGET = 80 * 1024;
const all = readdirSync(WWW, { recursive: true, withFileTypes: true }).filter((e) => e.isFile()).map((e) => join(e.parentPath ?? e.path, e.name).slice(WWW.length));
const text = (file) => readFileSync(WWW + file, 'utf8');
const own = all.filter((f) => /\.(html|css|js|svg|webmanifest)$/.test(f) && !f.startsWith('vendor/'));

/** Everything the first page loads: what index.html names and, from there, every import, also the overview's. */
function first_page() {
  const found = new Set();
  const visit = (file) => {
    if (found.has(file)) return;
    found.add(file);
    const names = file.endsWith('.html')
      ? [...text(file).matchAll(/(?:href|src)="([^"#]+\.(?:css|js|svg|webmanifest))"/g)].map((m) => m[1])
      : file.endsWith('.js') ? [...text(file).matchAll(/(?:from|^import|\bimport)\s*'(\.[^']+)'|from"(\.[^"]+)"|new URL\('(\.\/[^']+\.js)'/gm)].map((m) => m[1] ?? m[2] ?? m[3]) : [];
    for (const name of names) visit(resolve('/', dirname(file), name).slice(1));
  };
  visit('index.html');
  return [...found, 'vendor/icons.svg'];
}

test('the first page stays within its budget', (t) => {
  const files = first_page();
  assert.ok(files.includes('js/views/overview.js') && files.includes('js/core/shared_worker.js') && files.includes('vendor/lit-html/lit-html.js'), files.join());
  assert.ok(!files.some((f) => f.includes('uplot')), 'charts come with the pages that have them');
  const sizes = files.map((f) => [gzipSync(readFileSync(WWW + f), { level: 9 }).length, f]);
  const sum = sizes.reduce((a, [n]) => a + n, 0);
  t.diagnostic(`${files.length} files, ${sum} bytes gzip`);
  assert.ok(sum <= BUDGET, `${sum} bytes gzip, ${BUDGET} allowed; ${sizes.sort((a, b) => b[0] - a[0]).slice(0, 5).join('; ')}`);
});

/** Every module and stylesheet of the pages that the first page does not load, each after what it imports. */
function later() {
  const first = first_page();
  const found = [];
  const visit = (file) => {
    if (first.includes(file) || found.includes(file)) return;
    for (const [, name] of text(file).matchAll(/(?:from|^import)\s*'(\.[^']+)'/gm)) visit(resolve('/', dirname(file), name).slice(1));
    found.push(file);
  };
  const table = text('js/views/table.js');
  for (const [, name] of table.matchAll(/import\('\.\/(\w+\.js)'\)/g)) visit(`js/views/${name}`);
  const packs = [...table.matchAll(/with_pack\('(\w+)'|\), '(\w+)'\)/g)].map((m) => m[1] ?? m[2]);
  return [...new Set(packs.map((pack) => `css/${pack}.css`)), ...found];
}

test('what is loaded later is listed in an order that asks for one file at a time', () => {
  const list = `// Made by tests/www/files.test.mjs (TELLTALE_TEST_BLESS=1): what is loaded after the first page, each file after what it\n// imports, so that loading one after the other never asks for two at a time.\n\nexport const LATER = [\n${later().map((f) => `  '${f}',\n`).join('')}];\n`;
  if (process.env.TELLTALE_TEST_BLESS) writeFileSync(`${WWW}js/views/later.js`, list);
  assert.equal(text('js/views/later.js'), list, 'run this test with TELLTALE_TEST_BLESS=1');
});

test('every file that is imported is there', () => {
  for (const file of first_page()) assert.ok(all.includes(file), file);
  for (const file of all.filter((f) => f.endsWith('.js') && !f.startsWith('vendor/'))) {
    for (const [, name] of text(file).matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)) assert.ok(all.includes(resolve('/', dirname(file), name).slice(1)), `${file}: ${name}`);
  }
});

test('stylesheets that come with pages do not depend on which came first', () => {
  const classes = (file) => new Set([...text(file).replace(/\/\*[\s\S]*?\*\//g, '').replace(/\{[^{}]*\}/g, '').matchAll(/\.([a-z][\w-]*)/g)].map((m) => m[1]));
  const sheets = readdirSync(`${WWW}css`).map((f) => `css/${f}`);
  const first = first_page();
  const shared = new Set(sheets.filter((f) => first.includes(f)).flatMap((f) => [...classes(f)]));
  const seen = new Map();
  for (const file of sheets.filter((f) => !first.includes(f))) {
    for (const name of classes(file)) {
      if (shared.has(name)) continue;
      assert.ok(!seen.has(name), `.${name} is in ${seen.get(name)} and in ${file}`);
      seen.set(name, file);
    }
  }
});

test('nothing names a remote host', () => {
  for (const file of own) {
    const code = text(file).replace(/http:\/\/www\.w3\.org\/[\w/.#-]*/g, '');
    assert.doesNotMatch(code, /(?:https?|wss?):\/\/[a-z0-9-]+\.[a-z]/i, file);
    assert.doesNotMatch(code, /(?:src|href)="\/\//, file);
  }
});

test('nothing inline, nothing evaluated, no data as HTML', () => {
  for (const file of own.filter((f) => /\.(html|js)$/.test(f))) {
    const code = text(file).replace(/^\s*\/\/.*$/gm, '');
    assert.doesNotMatch(code, /\sstyle="|<style|\son\w+="|innerHTML|outerHTML|insertAdjacentHTML|\beval\(|new Function|document\.write/, file);
  }
  assert.doesNotMatch(text('index.html'), /<script(?![^>]*\bsrc=)/);
});

test('one module opens streams, one asks the daemon', () => {
  const code = own.filter((f) => f.endsWith('.js')).map((f) => [f, text(f).replace(/\/\/.*$/gm, '')]);
  assert.deepEqual(code.filter(([, c]) => /new EventSource\b/.test(c)).map(([f]) => f), ['js/core/link.js']);
  assert.deepEqual(code.filter(([, c]) => /\bfetch\(/.test(c)).map(([f]) => f), ['js/core/api.js']);
});

test('only what also works on plain http is used', () => {
  for (const file of own.filter((f) => f.endsWith('.js'))) {
    assert.doesNotMatch(text(file).replace(/\/\/.*$/gm, '').replace(/`[^`]*`/g, ''), /randomUUID|navigator\.locks|serviceWorker|crypto\.subtle|navigator\.onLine|navigator\.clipboard/, file);
  }
});

test('vendored files are as pinned, and a change is noticed', () => {
  const check = (folder) => execFileSync(process.execPath, [join(folder, 'vendor.mjs'), 'check'], { encoding: 'utf8', stdio: 'pipe' });
  assert.match(check(WWW), /as pinned/);
  const copy = mkdtempSync(join(tmpdir(), 'vendor-check-'));
  try {
    cpSync(WWW, copy, { recursive: true });
    appendFileSync(join(copy, 'vendor/lit-html/lit-html.js'), '\n//x');
    assert.throws(() => check(copy), (error) => /changed lit-html\/lit-html\.js/.test(error.stderr));
    cpSync(WWW, copy, { recursive: true });
    appendFileSync(join(copy, 'vendor/more.js'), 'import "https://example.com/x.js"');
    rmSync(join(copy, 'vendor/icons.svg'));
    assert.throws(() => check(copy), (error) => /unknown more\.js/.test(error.stderr) && /remote address/.test(error.stderr) && /missing icons\.svg/.test(error.stderr));
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
});

test('every icon that is drawn is in the sprite', () => {
  const icons = new Set([...text('vendor/icons.svg').matchAll(/symbol id="([\w-]+)"/g)].map((m) => m[1]));
  const named = own.filter((f) => f.endsWith('.js')).flatMap((f) => [...text(f).matchAll(/icon\('([\w-]+)'\)|shape: '([\w-]+)'|icon\('([\w-]+)'|icon: '([\w-]+)'|\['(?:good|busy|warn|bad|off)', '([\w-]+)'/g)].map((m) => m[1] ?? m[2] ?? m[3] ?? m[4] ?? m[5]));
  assert.ok(named.length > 30);
  for (const name of named) assert.ok(icons.has(name), name);
});

test('every text colour has the contrast its theme promises', () => {
  const css = text('css/tokens.css');
  const theme = (selector) => {
    const block = css.slice(css.indexOf(selector)).match(/\{([^}]*)\}/)[1];
    return Object.fromEntries([...block.matchAll(/--([\w-]+):\s*(#[0-9a-f]{6})/g)].map((m) => [m[1], m[2]]));
  };
  const channel = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const luminance = (hex) => [1, 3, 5].map((i) => channel(parseInt(hex.slice(i, i + 2), 16) / 255)).reduce((a, c, i) => a + c * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((m, n) => n - m); return (x + 0.05) / (y + 0.05); };
  for (const [selector, least, edge] of [[':root[data-theme="light"]', 4.5, 3], [':root[data-theme="dark"]', 4.5, 3], [':root[data-theme="sun"]', 7, 7]]) {
    const c = theme(selector);
    for (const ink of ['ink', 'muted', 'accent', 'good', 'busy', 'warn', 'bad', 'off']) {
      for (const ground of ['surface', 'ground', ...(c[`${ink}-soft`] ? [`${ink}-soft`] : [])]) {
        assert.ok(contrast(c[ink], c[ground]) >= least, `${selector} ${ink} on ${ground}: ${contrast(c[ink], c[ground]).toFixed(2)}`);
      }
    }
    assert.ok(contrast(c['on-accent'], c.accent) >= least, `${selector} button`);
    assert.ok(contrast(c.edge, c.surface) >= edge, `${selector} edge ${contrast(c.edge, c.surface).toFixed(2)}`);
  }
});
