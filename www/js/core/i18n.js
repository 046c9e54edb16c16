// Words. `t('key', {n: 3})` looks the key up in the language in use, then in English; a key with `.one`/`.other` forms
// is chosen by `n`. Numbers and dates are Intl's business, in format.js. Words that only later pages need are packs,
// loaded with those pages.

import en from '../i18n/en.js';

const LOADERS = { en: async () => en, de: async () => (await import('../i18n/de.js')).default };

/** name -> language -> its words. */
const PACKS = {
  recordings: { en: async () => (await import('../i18n/en_recordings.js')).default, de: async () => (await import('../i18n/de_recordings.js')).default },
  chart: { en: async () => (await import('../i18n/en_chart.js')).default, de: async () => (await import('../i18n/de_chart.js')).default },
  lab: { en: async () => (await import('../i18n/en_lab.js')).default, de: async () => (await import('../i18n/de_lab.js')).default },
  live: { en: async () => (await import('../i18n/en_live.js')).default, de: async () => (await import('../i18n/de_live.js')).default },
  ops: { en: async () => (await import('../i18n/en_ops.js')).default, de: async () => (await import('../i18n/de_ops.js')).default },
};
const packs = new Set();
let english = en;

/** Languages there are. */
export const LANGUAGES = Object.keys(LOADERS);

let language = 'en';
let words = en;
let plural = new Intl.PluralRules('en');

/** The language in use. */
export const current = () => language;

/** The language for a wish (`auto` is the browser's, if we have it). */
export function choose(wish, offered = globalThis.navigator?.languages ?? []) {
  if (LANGUAGES.includes(wish)) return wish;
  return offered.map((l) => l.slice(0, 2).toLowerCase()).find((l) => LANGUAGES.includes(l)) ?? 'en';
}

/** One after the other: a pack that is added while another language is loaded comes in that one. */
let turn = Promise.resolve();
const in_turn = (step) => (turn = turn.catch(() => {}).then(step));

/** Loads and uses a language; stays with the present one when it can't be loaded. */
export const use = (name) => in_turn(async () => {
  const dictionary = await whole(name);
  english = await whole('en');
  language = name;
  words = dictionary;
  plural = new Intl.PluralRules(name);
});

/** Adds the words of a pack, in the language in use and those after it. */
export const add = (pack) => in_turn(async () => {
  if (packs.has(pack)) return;
  const [mine, fallback] = await Promise.all([PACKS[pack][language](), PACKS[pack].en()]);
  packs.add(pack);
  words = { ...words, ...mine };
  english = { ...english, ...fallback };
});

async function whole(name) {
  const parts = await Promise.all([LOADERS[name](), ...[...packs].map((pack) => PACKS[pack][name]())]);
  return Object.assign({}, ...parts);
}

/** The words of `key`, with `{name}` replaced by `params.name`. The key itself when there are none. */
export function t(key, params) {
  const form = params?.n !== undefined ? `${key}.${plural.select(Number(params.n))}` : key;
  const text = words[form] ?? words[`${key}.other`] ?? words[key] ?? english[form] ?? english[`${key}.other`] ?? english[key];
  if (text === undefined) return key;
  return params ? text.replace(/\{(\w+)\}/g, (whole, name) => (name in params ? String(params[name]) : whole)) : text;
}

/** The word for one of the wire's enum values, such as `word('recorder', 'hold')`; the value itself when unknown. */
export function word(kind, value) {
  const key = `${kind}.${value}`;
  const text = t(key);
  return text === key ? String(value ?? '').replaceAll('_', ' ') : text;
}
