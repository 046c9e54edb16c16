// Requests whose answer is the end of it, such as adding a scan or moving one: one at a time a name, and how the last one
// went, for the page to say. What has an effect later is a command (commands.js).

import { ApiError, request } from './api.js';

export class Asking {
  constructor(app) {
    this.app = app;
    this.busy = new Set();
    this.notes = new Map();
  }

  /** Resolves to the answer, or null when it was refused; `words` may turn the answer into a line to show. */
  async send(name, method, path, body, { words, refused } = {}) {
    if (this.busy.has(name)) return null;
    this.busy.add(name);
    this.notes.delete(name);
    this.app.ticker.now();
    try {
      const { body: answer } = await request(method, path, body);
      const said = words?.(answer);
      if (said) this.notes.set(name, { tone: 'good', text: said });
      return answer ?? {};
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const own = refused?.(error);
      this.notes.set(name, { tone: own?.tone ?? 'bad', text: own?.text ?? null, reason: error.status ? error.message : null, violations: error.problem?.violations ?? [] });
      return null;
    } finally {
      this.busy.delete(name);
      this.app.ticker.now();
    }
  }

  dismiss(name) {
    this.notes.delete(name);
    this.app.ticker.now();
  }
}
