// Something the daemon is asked for and asked again: its last answer, and how that went. Views read `status`:
// `loading`, `ok`, `error` (with `reason`), `denied`, or `absent` when this daemon does not offer it. An answer once had
// stays while it is asked for again.

import { read } from './api.js';

export class Remote {
  /** `query()` is asked each time. Ends with `signal`. */
  constructor(app, path, { query = () => ({}), every_ms = 0, signal } = {}) {
    Object.assign(this, { app, path, query, signal });
    this.status = 'loading';
    this.reason = null;
    this.body = null;
    this.turn = 0;
    if (every_ms) {
      const timer = setInterval(() => document.visibilityState === 'visible' && this.load(), every_ms);
      signal?.addEventListener('abort', () => clearInterval(timer));
    }
  }

  /** Asks; a later call overtakes an earlier one. Resolves to the answer, or null. */
  async load() {
    const turn = (this.turn += 1);
    try {
      const { body } = await read(this.path, { query: this.query(), signal: this.signal });
      if (turn !== this.turn || this.signal?.aborted) return null;
      Object.assign(this, { body, status: 'ok', reason: null });
    } catch (error) {
      if (turn !== this.turn || this.signal?.aborted) return null;
      this.body = error.status ? null : this.body;
      Object.assign(this, outcome(error));
    }
    this.app.ticker.now();
    return this.status === 'ok' ? this.body : null;
  }
}

/** How a failed request reads. */
export function outcome(error) {
  if (error.status === 404 || error.status === 405 || error.code === 'unknown_parameter') return { status: 'absent', reason: error.message };
  if (error.status === 401 || error.status === 403) return { status: 'denied', reason: error.message };
  return { status: 'error', reason: error.message };
}
