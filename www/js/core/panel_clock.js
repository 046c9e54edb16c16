// A panel's own clock: asks again in the pace that was chosen for it, which this browser remembers. One question at a time:
// where an answer takes longer than the period, a turn is left out. A hidden page asks nothing.

import { parse_pace, period_ms } from '../state/panel_clock.js';
import { recall, remember } from './preferences.js';

export class PanelClock {
  /** `tick()` asks, and resolves when there is an answer; `changed(pace)` is told of a choice. Ends with `signal`. */
  constructor({ name, offered, preset, tick, changed = () => {}, signal }) {
    Object.assign(this, { name, offered, preset, tick, changed, signal });
    this.pace = parse_pace(recall(`pace.${name}`), offered, preset);
    this.asking = false;
    this.timer = null;
    this.seen = () => document.visibilityState === 'visible' && period_ms(this.pace) !== null && this.ask();
    document.addEventListener('visibilitychange', this.seen, { signal });
    signal?.addEventListener('abort', () => clearInterval(this.timer));
    this.wind();
  }

  choose(pace) {
    this.pace = pace;
    remember(`pace.${this.name}`, pace === this.preset ? '' : String(pace));
    this.wind();
    this.changed(pace);
    if (period_ms(pace) !== null) this.ask();
  }

  wind() {
    clearInterval(this.timer);
    const period = period_ms(this.pace);
    if (period === null || this.signal?.aborted) return;
    this.timer = setInterval(() => document.visibilityState === 'visible' && this.ask(), period);
  }

  async ask() {
    if (this.asking) return;
    this.asking = true;
    try {
      await this.tick();
    } finally {
      this.asking = false;
    }
  }
}
