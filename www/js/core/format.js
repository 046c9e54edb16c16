// Numbers, ages, durations and sizes as people read them. What is unknown is a dash, never a 0.

import { current, t } from './i18n.js';

export const DASH = '–';

// Making a formatter costs a hundred times its use.
const cache = new Map();
function made(Kind, options) {
  const key = Kind.name + current() + JSON.stringify(options);
  if (!cache.has(key)) cache.set(key, new Kind(current(), options));
  return cache.get(key);
}
const formatter = (options) => made(Intl.NumberFormat, options);

const known = (value) => typeof value === 'number' && Number.isFinite(value);

/** A number with as many digits as its size asks for: 0.00123, 1.234, 12.35, 1,235. */
export function number(value, digits) {
  if (!known(value)) return DASH;
  if (digits !== undefined) return fixed(value, digits);
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e9)) return power(value);
  if (Number.isInteger(value)) return minus(formatter({}).format(value));
  return fixed(value, places(size));
}

/** A minus as wide as a plus, so that figures stay in their columns. */
const minus = (text) => text.replace('-', '−');
const fixed = (value, digits) => minus(formatter({ minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value));
const places = (size) => (size >= 1000 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4);

/** A measured number: as `number`, but a whole one keeps its places, so that it does not jump about. */
export const measure = (value) => (Number.isInteger(value) && Math.abs(value) < 1e9 ? fixed(value, places(Math.abs(value))) : number(value));

const UNITS = { degC: '°C', degF: '°F', deg: '°', Ohm: 'Ω', ohm: 'Ω', uA: 'µA', uV: 'µV', um: 'µm', us: 'µs', percent: '%' };

/** A unit as people write it, for the spellings that programs use. */
export const unit = (text) => UNITS[text] ?? text;

/** 1.24 × 10⁻⁷ */
function power(value) {
  const [mantissa, exponent] = value.toExponential(2).split('e');
  const raised = [...String(Number(exponent))].map((c) => (c === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(c)])).join('');
  return `${fixed(Number(mantissa), 2)} × 10${raised}`;
}

/** A signed change, with one place more than the value it belongs to. */
export function change(value, of) {
  if (!known(value)) return DASH;
  const size = Math.abs(value);
  const text = known(of) && Math.abs(of) >= 0.001 ? fixed(size, places(Math.abs(of)) + 1) : number(size);
  if (!/[1-9]/.test(text)) return '±0';
  return value > 0 ? `+${text}` : `−${text}`;
}

/** A whole number. */
export const count = (value) => (known(value) ? formatter({ maximumFractionDigits: 0 }).format(value) : DASH);

/** 0..1 -> 45 %. */
export const percent = (value) => (known(value) ? formatter({ style: 'percent', maximumFractionDigits: 0 }).format(value) : DASH);

/** Decibels with one place. */
export const decibel = (value) => (known(value) ? `${number(value, 1)} dB` : DASH);

/** Bytes in powers of 1000, as disks are sold. */
export function bytes(value) {
  if (!known(value)) return DASH;
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let n = value;
  let i = 0;
  while (Math.abs(n) >= 999.5 && i < units.length - 1) {
    n /= 1000;
    i += 1;
  }
  return `${number(n, i === 0 || n >= 100 ? 0 : 1)} ${units[i]}`;
}

/** Seconds as 4 s, 3:05, 2:15:00, 3 d 4 h. */
export function duration(seconds) {
  if (!known(seconds) || seconds < 0) return DASH;
  const s = Math.floor(seconds);
  if (s < 60) return t('time.s', { s });
  const two = (n) => String(n).padStart(2, '0');
  const [d, h, m] = [Math.floor(s / 86_400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (d > 0) return t('time.dh', { d, h });
  if (h > 0) return `${h}:${two(m)}:${two(s % 60)}`;
  return `${m}:${two(s % 60)}`;
}

/** A rough span for ages and estimates: 12 s, 4 min, 3 h, 2 d. */
export function span(seconds) {
  if (!known(seconds) || seconds < 0) return DASH;
  if (seconds < 60) return t('time.s', { s: Math.floor(seconds) });
  if (seconds < 3600) return t('time.min', { m: Math.floor(seconds / 60) });
  if (seconds < 86_400) return t('time.h', { h: Math.floor(seconds / 3600) });
  return t('time.d', { d: Math.floor(seconds / 86_400) });
}

/** How old: "12 s old". */
export const age = (seconds) => (known(seconds) ? t('age.old', { span: span(seconds) }) : DASH);

/** Clock time of an RFC 3339 text in this device's zone; with the day when `now_ms` is another day. */
export function clock(timestamp, now_ms) {
  const ms = Date.parse(timestamp ?? '');
  if (Number.isNaN(ms)) return DASH;
  const date = new Date(ms);
  const same = now_ms !== undefined && now_ms !== null && new Date(now_ms).toDateString() === date.toDateString();
  const options = same ? { timeStyle: 'medium' } : { dateStyle: 'short', timeStyle: 'short' };
  return made(Intl.DateTimeFormat, options).format(date);
}

/** A place in a recording, to a tenth of a second: 0:12.4, 1:02:03.0. */
export function place(seconds) {
  if (!known(seconds)) return DASH;
  const tenths = Math.round(Math.max(0, seconds) * 10);
  const two = (n) => String(n).padStart(2, '0');
  const [h, m, s] = [Math.floor(tenths / 36_000), Math.floor(tenths / 600) % 60, Math.floor(tenths / 10) % 60];
  return `${h ? `${h}:${two(m)}` : m}:${two(s)}.${tenths % 10}`;
}

/** What `place` writes, and plain seconds, as people type them: seconds, or null. */
export function parse_place(text) {
  const parts = String(text).trim().replace(',', '.').split(':');
  if (parts.length > 3 || !parts.every((p, i) => (i === parts.length - 1 ? /^\d{1,6}(\.\d*)?$/ : /^\d{1,4}$/).test(p))) return null;
  return parts.reduce((sum, p) => sum * 60 + Number(p), 0);
}

/** Date and time of day with seconds, in this device's zone; only the time on the day of `now_ms`. */
export function moment(timestamp, now_ms) {
  const ms = typeof timestamp === 'number' ? timestamp : Date.parse(timestamp ?? '');
  if (Number.isNaN(ms)) return DASH;
  const date = new Date(ms);
  const same = typeof now_ms === 'number' && new Date(now_ms).toDateString() === date.toDateString();
  return made(Intl.DateTimeFormat, same ? { timeStyle: 'medium' } : { dateStyle: 'short', timeStyle: 'medium' }).format(date);
}
