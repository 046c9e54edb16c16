// Keeps www/vendor: third-party files, pinned by version and by the registry's sha512, committed, served as they are.
//
//   node www/vendor.mjs check          offline: every file is there, unchanged, known, and names no remote host
//   node www/vendor.mjs fetch          downloads what vendor.lock.json pins and writes the folder anew
//   node www/vendor.mjs pin a@1.2.3    takes a new version of a package into the lock (then: fetch, review, commit)
//
// Needs node, npm and tar. The build of the daemon never runs it: it takes the folder as committed.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = fileURLToPath(new URL('./vendor/', import.meta.url));
const LOCK = 'vendor.lock.json';
const SUMS = 'SHA256SUMS';

const read = (path) => readFileSync(join(HERE, path));
const lock = () => JSON.parse(read(LOCK));
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const sha512 = (bytes) => `sha512-${createHash('sha512').update(bytes).digest('base64')}`;

/** Every file below the folder, as paths with `/`, sorted. */
function files(folder = HERE, prefix = '') {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => entry.isDirectory()
      ? files(join(folder, entry.name), `${prefix}${entry.name}/`)
      : [`${prefix}${entry.name}`])
    .sort();
}

function write(path, bytes) {
  const to = join(HERE, path);
  mkdirSync(dirname(to), { recursive: true });
  writeFileSync(to, bytes);
}

/** Downloads one package, compares it with the lock, unpacks it; gives a function that reads its files. */
function unpack(pkg, scratch) {
  const name = execFileSync('npm', ['pack', `${pkg.name}@${pkg.version}`, '--silent', '--pack-destination', scratch], {
    encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'],
  }).trim().split('\n').pop();
  const tarball = join(scratch, name);
  const found = sha512(readFileSync(tarball));
  if (found !== pkg.integrity) {
    throw new Error(`${pkg.name}@${pkg.version}: the lock says ${pkg.integrity}, the registry sent ${found}`);
  }
  const folder = join(scratch, pkg.name);
  mkdirSync(folder, { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '-C', folder, '--strip-components=1']);
  return (path) => readFileSync(join(folder, path), 'utf8');
}

/** One sprite of symbols, drawn with the text's colour and the stylesheet's line width. */
function sprite(pkg, from) {
  const symbols = pkg.sprite.icons.map((icon) => {
    const body = from(`${pkg.sprite.from}/${icon}.svg`)
      .replace(/<!--[\s\S]*?-->/g, '').replace(/^[\s\S]*?<svg[^>]*>/, '').replace(/<\/svg>\s*$/, '')
      .replace(/\s*\n\s*/g, '');
    return `<symbol id="${icon}" viewBox="0 0 24 24">${body}</symbol>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg"><!-- ${pkg.name} ${pkg.version}, ${pkg.licence}, see LICENSES -->\n${symbols.join('\n')}\n</svg>\n`;
}

function fetchAll() {
  const { packages } = lock();
  const scratch = mkdtempSync(join(tmpdir(), 'vendor-'));
  try {
    const made = new Map();
    const notices = ['The page contains parts of these packages, unchanged but for removed source map comments,',
      'an export line (uPlot) and the joining of icons into one file (lucide).', ''];
    for (const pkg of packages) {
      const from = unpack(pkg, scratch);
      for (const [path, to] of Object.entries(pkg.files ?? {})) {
        let text = from(path).replace(/\n?\/\/# sourceMappingURL=.*\s*$/, '\n');
        const name = pkg.export?.[to];
        if (name) text = `${text.trimEnd()}\nexport default ${name};\n`;
        made.set(to, text);
      }
      if (pkg.sprite) made.set(pkg.sprite.to, sprite(pkg, from));
      made.set(`LICENSES/${pkg.name}.txt`, from(pkg.licence_file));
      notices.push(`${pkg.name} ${pkg.version}`, `  licence: ${pkg.licence}, text in LICENSES/${pkg.name}.txt`, `  source: ${pkg.repository}`, '');
    }
    made.set('THIRD_PARTY.txt', notices.join('\n'));
    for (const old of files()) if (old !== LOCK) rmSync(join(HERE, old));
    for (const [path, text] of made) write(path, text);
    const sums = files().filter((f) => f !== SUMS && f !== LOCK).map((f) => `${sha256(read(f))}  ${f}\n`);
    write(SUMS, sums.join(''));
    return `wrote ${made.size} files`;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** What is wrong with the folder; empty when nothing is. Reads only the folder. */
export function faults() {
  const found = [];
  const sums = new Map(read(SUMS).toString().trim().split('\n').map((line) => line.split('  ').reverse()));
  const there = files().filter((f) => f !== SUMS && f !== LOCK);
  for (const path of there) {
    if (!sums.has(path)) found.push(`unknown ${path}`);
    else if (sums.get(path) !== sha256(read(path))) found.push(`changed ${path}`);
    if (/\.(js|css|svg)$/.test(path)) {
      // Addresses in comments (licence headers) and XML namespaces load nothing.
      const code = read(path).toString().replace(/\/\*[\s\S]*?\*\/|<!--[\s\S]*?-->/g, '').replace(/https?:\/\/www\.w3\.org\/[\w/.#-]*/g, '');
      const remote = code.match(/(?:https?:)?\/\/[a-z0-9-]+\.[a-z]{2,}/i);
      if (remote) found.push(`remote address ${remote[0]} in ${path}`);
    }
  }
  for (const path of sums.keys()) if (!there.includes(path)) found.push(`missing ${path}`);
  for (const pkg of lock().packages) {
    if (!/^sha512-/.test(pkg.integrity)) found.push(`no integrity for ${pkg.name}`);
    if (!there.includes(`LICENSES/${pkg.name}.txt`)) found.push(`no licence text for ${pkg.name}`);
    for (const path of [...Object.values(pkg.files ?? {}), ...(pkg.sprite ? [pkg.sprite.to] : [])]) {
      if (!there.includes(path)) found.push(`missing ${path}`);
    }
  }
  return found;
}

function pin(wanted) {
  const current = lock();
  for (const text of wanted) {
    const [, name, version] = text.match(/^(.+)@([^@]+)$/) ?? [];
    const pkg = current.packages.find((p) => p.name === name);
    if (!pkg) throw new Error(`${text}: expected name@version of one of ${current.packages.map((p) => p.name).join(', ')}`);
    const view = JSON.parse(execFileSync('npm', ['view', text, 'dist.integrity', 'license', '--json'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
    Object.assign(pkg, { version, integrity: view['dist.integrity'], licence: view.license });
  }
  write(LOCK, `${JSON.stringify(current, null, 2)}\n`);
  return `pinned ${wanted.join(', ')}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [mode = 'check', ...rest] = process.argv.slice(2);
  try {
    if (mode === 'fetch') console.log(fetchAll());
    else if (mode === 'pin') console.log(pin(rest));
    else if (mode !== 'check') throw new Error(`unknown mode ${mode}; expected check, fetch or pin`);
    const found = mode === 'pin' ? [] : faults();
    for (const fault of found) console.error(fault);
    if (found.length) process.exitCode = 1;
    else if (mode !== 'pin') console.log('www/vendor is as pinned');
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
