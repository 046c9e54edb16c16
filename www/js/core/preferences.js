// What this browser remembers: theme, language, how events come, how alerts call. Storage may be missing or forbidden; then the choice
// holds until the page is closed.

const KEY = 'telltale.preferences';

/** Every preference with its default. */
export const DEFAULTS = { theme: 'auto', language: 'auto', mode: 'auto', poll_ms: 2_000, sound: false, notify: false };

const ALLOWED = {
  theme: ['auto', 'light', 'dark', 'sun'],
  language: ['auto', 'en', 'de'],
  mode: ['auto', 'stream', 'polling'],
  poll_ms: [1_000, 2_000, 5_000, 10_000, 30_000],
  sound: [false, true],
  notify: [false, true],
};

/** What is allowed for one. */
export const choices = (name) => ALLOWED[name];

/** Preferences from a stored text; what is not understood is the default. */
export function parse(text) {
  let stored = {};
  try {
    stored = JSON.parse(text) ?? {};
  } catch {
    // Not ours, or damaged: defaults.
  }
  return Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, ALLOWED[name].includes(stored[name]) ? stored[name] : value]));
}

export class Preferences {
  constructor() {
    this.load();
  }

  /** Reads what is stored, also what another tab stored. */
  load() {
    try {
      this.values = parse(localStorage.getItem(KEY));
    } catch {
      this.values ??= { ...DEFAULTS };
    }
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    this.values = parse(JSON.stringify({ ...this.values, [name]: value }));
    try {
      localStorage.setItem(KEY, JSON.stringify(this.values));
    } catch {
      // Kept for this page only.
    }
  }
}

/** What a page remembers for next time under a name of its own, as text; null when there is nothing. */
export function recall(name) {
  try {
    return localStorage.getItem(`telltale.${name}`);
  } catch {
    return null;
  }
}

export function remember(name, text) {
  try {
    if (text) localStorage.setItem(`telltale.${name}`, text);
    else localStorage.removeItem(`telltale.${name}`);
  } catch {
    // Only for as long as the page is open.
  }
}
