// The render loop: one tick of 100 ms for the whole page. Events only mark the page; the tick draws, at most 4 times a
// second for data, at the next tick for what the person did. While a finger is down nothing is drawn, so that nothing
// moves under it. A hidden page draws nothing.

import { render } from '../../vendor/lit-html/lit-html.js';
import { address } from './api.js';

const TICK_MS = 100;
const DATA_MS = 250;
const AGES_MS = 1_000;
/** A press held longer than this no longer holds the page still. */
const PRESS_MS = 1_500;

export class Ticker {
  /** `draw()` renders everything. */
  constructor(draw) {
    this.draw = draw;
    this.data = true;
    this.urgent = true;
    this.drawn_at = -Infinity;
    this.pressed_at = null;
  }

  start() {
    const press = () => { this.pressed_at = performance.now(); };
    const release = () => { this.pressed_at = null; };
    addEventListener('pointerdown', press, { capture: true, passive: true });
    for (const name of ['pointerup', 'pointercancel']) addEventListener(name, release, { capture: true, passive: true });
    // Only the window's own: what is pressed takes the focus from something else.
    addEventListener('blur', (event) => event.target === window && release());
    document.addEventListener('visibilitychange', () => this.now());
    setInterval(() => this.tick(), TICK_MS);
    this.tick();
  }

  /** New data: drawn at most 4 times a second. */
  mark() {
    this.data = true;
  }

  /** Something the person did or must see: drawn at the next tick. */
  now() {
    this.urgent = true;
  }

  tick() {
    if (document.visibilityState === 'hidden') return;
    const at = performance.now();
    if (this.pressed_at !== null && at - this.pressed_at < PRESS_MS) return;
    const since = at - this.drawn_at;
    if (!this.urgent && !(this.data && since >= DATA_MS) && since < AGES_MS) return;
    this.urgent = false;
    this.data = false;
    this.drawn_at = at;
    this.draw();
  }
}

/** Draws a template into an element; a fault in it is shown there and does not stop the rest of the page. */
export function draw(template, into) {
  try {
    render(template(), into);
    return true;
  } catch (error) {
    console.error(error);
    return false;
  }
}

const sheets = new Map();

/** Loads a stylesheet of the page once; resolves when it counts. A page without its colours is still a page. */
export function style(path) {
  if (!sheets.has(path)) {
    sheets.set(path, new Promise((resolve) => {
      const link = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: address(path) });
      link.onload = resolve;
      link.onerror = () => {
        sheets.delete(path);
        link.remove();
        resolve();
      };
      document.head.append(link);
    }));
  }
  return sheets.get(path);
}

/** Says something to screen readers, once. */
export function announce(text) {
  const place = document.getElementById('announce');
  if (place) place.textContent = text;
}
