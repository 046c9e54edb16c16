// Numbers, ages, languages, preferences, addresses, lines.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import * as format from '../../www/js/core/format.js';
import * as i18n from '../../www/js/core/i18n.js';
import { DEFAULTS, parse as parse_preferences } from '../../www/js/core/preferences.js';
import { parse as parse_route } from '../../www/js/core/router.js';
import { DaemonClock } from '../../www/js/core/time.js';
import de_first from '../../www/js/i18n/de.js';
import en_first from '../../www/js/i18n/en.js';
import { is_after, parse_id, state_key } from '../../www/js/core/kinds.js';

const JS = fileURLToPath(new URL('../../www/js/', import.meta.url));
/** The words of the first page and of every pack. */
const packs = readdirSync(`${JS}i18n`).filter((f) => /^en_\w+\.js$/.test(f)).map((f) => f.slice(3, -3));
const pack = async (language) => Promise.all(packs.map(async (name) => (await import(`../../www/js/i18n/${language}_${name}.js`)).default));
const [en, de] = [Object.assign({}, en_first, ...(await pack('en'))), Object.assign({}, de_first, ...(await pack('de')))];
const sources = readdirSync(JS, { recursive: true }).filter((f) => f.endsWith('.js')).map((f) => [f, readFileSync(JS + f, 'utf8')]);

test('numbers', () => {
  for (const [expected, value] of [['–', null], ['–', NaN], ['–', undefined], ['–', '3'], ['0', 0], ['7', 7], ['1,234,567', 1_234_567], ['1.235', 1.2345],
    ['12.35', 12.345], ['0.0123', 0.01234], ['−12.35', -12.345], ['1.24 × 10⁻⁷', 1.24e-7], ['2.50 × 10¹²', 2.5e12]]) {
    assert.equal(format.number(value), expected, String(value));
  }
});

test('measured numbers keep their places; units are written as people do', () => {
  assert.deepEqual([9, 82.8, 0, -12, 1.24e-7, null].map(format.measure), ['9.000', '82.80', '0.0000', '−12.00', '1.24 × 10⁻⁷', '–']);
  assert.deepEqual(['degC', 'V', undefined].map(format.unit), ['°C', 'V', undefined]);
});

test('changes have a sign and one place more than their value', () => {
  assert.equal(format.change(0.0031, 50.02), '+0.003');
  assert.equal(format.change(-2, null), '−2');
  assert.equal(format.change(0, 7), '±0');
  assert.equal(format.change(-0.0001, 50.02), '±0');
  assert.equal(format.change(null, 7), '–');
});

test('sizes, shares, spans', () => {
  assert.deepEqual([0, 999, 1_000, 48_000_000, 999_999, 3.2e13, null].map(format.bytes), ['0 B', '999 B', '1.0 kB', '48.0 MB', '1.0 MB', '32.0 TB', '–']);
  assert.deepEqual([0.456, null].map(format.percent), ['46%', '–']);
  assert.deepEqual([0, 59.9, 185, 8_100, 273_600, -1, null].map(format.duration), ['0 s', '59 s', '3:05', '2:15:00', '3 d 4 h', '–', '–']);
  assert.deepEqual([12, 240, 7_300, 200_000].map(format.span), ['12 s', '4 min', '2 h', '2 d']);
  assert.equal(format.age(12.4), '12 s old');
});

test('ages do not mix clocks: a step of the daemon or of this device changes none', () => {
  let mono = 0;
  let wall = 5e11;
  const clock = new DaemonClock({ mono: () => mono, wall: () => wall });
  assert.equal(clock.born('1970-01-01T00:00:10.000Z'), null, 'nothing is known before the daemon spoke');
  clock.take('1970-01-01T00:01:00.000Z');
  const born = clock.born('1970-01-01T00:00:50.000Z');
  const age = () => (clock.mono() - born) / 1_000;
  assert.equal(age(), 10);
  mono += 5_000;
  wall += 5_000;
  clock.take('2026-01-07T15:30:00.000Z');
  assert.equal(age(), 15, 'the daemon was given the right time');
  mono += 5_000;
  wall -= 9e9;
  clock.take('2026-01-07T15:30:05.000Z');
  assert.equal(age(), 20, 'this device was set back');
  assert.equal(clock.born('2026-01-07T15:31:00.000Z'), clock.mono(), 'never in the future');
});

test('a sleep of this device is part of every age', () => {
  let mono = 0;
  let wall = 5e11;
  const clock = new DaemonClock({ mono: () => mono, wall: () => wall });
  clock.take('2026-01-07T15:30:00.000Z');
  const born = clock.born('2026-01-07T15:30:00.000Z');
  mono += 1_000;
  wall += 3_601_000;
  clock.take('2026-01-07T16:30:01.000Z');
  assert.equal(Math.round((clock.mono() - born) / 1_000), 3_601);
});

test('every language has every key, and says the same parameters', () => {
  assert.deepEqual(Object.keys(de).sort(), Object.keys(en).sort());
  const params = (text) => (text.match(/\{\w+\}/g) ?? []).sort().join();
  for (const key of Object.keys(en)) assert.equal(params(de[key]), params(en[key]), key);
  for (const [key, text] of Object.entries({ ...en, ...de })) assert.ok(text.trim(), key);
});

test('packs hold words of their own, and the first page needs none of them', async () => {
  assert.deepEqual(packs.sort(), ['chart', 'lab', 'live', 'ops', 'recordings']);
  const seen = new Set();
  for (const [i, words] of (await pack('en')).entries()) {
    assert.deepEqual(Object.keys(words).sort(), Object.keys((await pack('de'))[i]).sort(), packs[i]);
    for (const key of Object.keys(words)) assert.ok(!(key in en_first) && !seen.has(key) && seen.add(key), `${key} is there twice`);
  }
});

test('a pack adds its words to the language in use and to the next', async () => {
  assert.equal(i18n.t('log.title'), 'log.title');
  await i18n.add('ops');
  assert.equal(i18n.t('log.title'), 'Log');
  await i18n.use('de');
  assert.equal(i18n.t('log.title'), 'Protokoll');
  assert.equal(i18n.t('conn.live'), 'Live');
  await i18n.use('en');
});

test('every key in the code is a word, and every word is used', () => {
  const code = sources.filter(([f]) => !f.startsWith('i18n/')).map(([, text]) => text.replace(/^\s*\/\/.*$/gm, '')).join('\n');
  const used = new Set([...code.matchAll(/\bt\(\s*'([\w.]+)'/g)].map((m) => m[1]));
  for (const m of code.matchAll(/\?\s*'([a-z]\w*\.[\w.]+)'\s*:\s*\n?\s*'?([\w.]+)?'?/g)) used.add(m[1]);
  const bases = new Set(Object.keys(en).map((k) => k.replace(/\.(one|other)$/, '')));
  for (const key of [...code.matchAll(/\bt\(\s*'([\w.]+)'/g)].map((m) => m[1])) assert.ok(bases.has(key) || key in en, `no words for ${key}`);
  // Keys made from a value: word('kind', v) and t(`kind.${v}`).
  const made = [...code.matchAll(/\bt\(\s*(?:[^()`']*\?\s*)?`([\w.]+)\.\$\{/g), ...code.matchAll(/\bword\('([\w.]+)'/g), ...code.matchAll(/`(system\.fault)\.\$\{/g), ...code.matchAll(/\bchip\('(\w+)'/g)].map((m) => `${m[1]}.`);
  for (const key of bases) {
    const said = used.has(key) || code.includes(`'${key}'`) || made.some((prefix) => key.startsWith(prefix));
    assert.ok(said, `nothing says ${key}`);
  }
});

test('no bare words in templates', () => {
  for (const [file, text] of sources) {
    for (const m of text.matchAll(/>\s*([A-Z][a-z]+(?: [a-z]+)+)\s*</g)) assert.fail(`${file}: ${m[1]}`);
  }
});

test('plural and parameters; what has no words is shown as it is', async () => {
  assert.equal(i18n.t('queues.failed', { n: 1 }), '1 failed');
  assert.equal(i18n.t('instruments.error', { n: 2 }), '2 errors');
  assert.equal(i18n.t('no.such.key'), 'no.such.key');
  assert.equal(i18n.word('recorder', 'warming_up'), 'warming up');
  assert.equal(i18n.t('age.old', { span: '{n}' }), '{n} old');
  await i18n.use('de');
  assert.equal(i18n.t('conn.live'), 'Live');
  assert.equal(format.number(1234.5), '1.234,5');
  await i18n.use('en');
});

test('the language is the wish, else the first of the browser that there is', () => {
  assert.equal(i18n.choose('de', ['en']), 'de');
  assert.equal(i18n.choose('auto', ['fr-FR', 'de-CH', 'en']), 'de');
  assert.equal(i18n.choose('auto', ['fr']), 'en');
});

test('preferences that are damaged are the defaults', () => {
  for (const text of [null, '', '{', '[]', '"x"', 'null', '{"theme":"pink","poll_ms":"2"}']) assert.deepEqual(parse_preferences(text), DEFAULTS, String(text));
  assert.equal(parse_preferences('{"theme":"sun"}').theme, 'sun');
});

test('addresses', () => {
  assert.deepEqual({ ...parse_route('#/scan/SCAN%20001?x=1'), query: undefined }, { name: 'scan', parts: ['SCAN 001'], query: undefined });
  assert.equal(parse_route('').name, 'overview');
  assert.equal(parse_route('#/%E0%A4').name, '%E0%A4');
});

test('ids and keys', () => {
  assert.deepEqual(parse_id('7-184467'), [7, 184467]);
  for (const bad of [null, '', '7', '7-', '-1', 'a-b', '7-1-2']) assert.equal(parse_id(bad), null);
  assert.ok(is_after('7-10', '7-9') && !is_after('7-9', '7-9') && is_after('8-1', '7-9') && is_after('7-1', null) && !is_after('x', '7-1'));
  assert.equal(state_key({ type: 'stream_value', payload: { stream_id: 's' } }), 'stream_value/s');
  assert.equal(state_key({ type: 'system_health', payload: {} }), 'system_health');
  assert.equal(state_key({ type: 'note', payload: {} }), null);
});
