// Plays an ended scan again (state/replay.js): lines of `GET .../playback` at a rate. A pause lets go of them; going on asks
// from the row after the last, as does another rate.

import { read_lines } from './api.js';
import { begin, told } from '../state/replay.js';

export class Replay {
  /** Ends with `signal`. */
  constructor(app, { id, measurement, signal, rate = 10 }) {
    Object.assign(this, { app, id, signal });
    this.it = { ...begin(rate), measurement };
    this.play();
    signal.addEventListener('abort', () => this.reading?.abort());
  }

  async play() {
    this.reading?.abort();
    const reading = (this.reading = new AbortController());
    const from = this.it.last === null ? 0 : this.it.last + 1;
    this.it = { ...this.it, stage: 'opening', reason: null };
    const mine = () => reading === this.reading && !reading.signal.aborted;
    try {
      await read_lines(`api/scans/${encodeURIComponent(this.id)}/playback`, {
        query: { rate: this.it.rate, from, format: 'ndjson' }, signal: reading.signal,
        line: (event) => {
          if (!mine()) return;
          this.it = told(this.it, event);
          this.app.ticker.mark();
        },
      });
      if (mine() && this.it.stage !== 'finished') this.it = { ...this.it, stage: 'failed', reason: null };
    } catch (error) {
      if (mine()) this.it = { ...this.it, stage: 'failed', reason: error.message };
    }
    this.app.ticker.now();
  }

  pause() {
    this.reading?.abort();
    this.it = { ...this.it, stage: 'paused' };
    this.app.ticker.now();
  }

  at(rate) {
    this.it = { ...this.it, rate };
    if (this.it.stage === 'playing' || this.it.stage === 'opening') this.play();
    this.app.ticker.now();
  }

  stop() {
    this.reading?.abort();
    this.reading = null;
  }
}
