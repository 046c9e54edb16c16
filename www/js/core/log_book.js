// Log lines under a filter: live ones as they come, older ones by pages (state/log.js), for <log-panel>.

import { read } from './api.js';
import { t } from './i18n.js';
import { outcome } from './remote.js';
import { MOST, before, came, initial, line_of, loaded, passes, pause } from '../state/log.js';

const PAGE = 200;
/** Typing is over when this long no key was hit. */
const TYPED_MS = 300;

export class LogBook {
  /** `path` answers as `GET /api/log`; `mine(envelope)` says which live lines belong here; `narrowed(filter)` is told of another filter; ends with `signal`. */
  constructor(app, { path, mine, filter = {}, narrowed = () => {}, signal }) {
    // `wanted` is the filter as the person has it, also while it is still being typed.
    Object.assign(this, { app, path, mine, narrowed, signal, filter, wanted: filter });
    signal.addEventListener('abort', () => clearTimeout(this.typing));
    this.book = initial();
    this.sources = new Set();
    this.status = 'loading';
    this.reason = null;
    this.turn = 0;
    this.busy = false;
    this.fault = null;
    this.gaps = app.store.gaps.at(-1);
    app.store.listen((envelope) => this.event(envelope), signal);
    this.load();
  }

  event(envelope) {
    if (!this.mine(envelope)) return;
    const line = line_of(envelope);
    if (line.source) this.sources.add(line.source);
    if (!passes(line, this.filter)) return;
    (this.waiting ??= []).push(line);
    // A hidden page draws nothing, and takes nothing in by drawing.
    if (this.waiting.length >= MOST) this.take();
  }

  /** Live lines are taken in together, when the page is drawn. */
  take() {
    if (this.waiting) this.book = came(this.book, this.waiting);
    this.waiting = null;
    const gap = this.app.store.gaps.at(-1);
    if (gap !== this.gaps) {
      this.gaps = gap;
      this.load();
    }
  }

  /** The newest page under the present filter. */
  async load() {
    const turn = (this.turn += 1);
    try {
      const { body } = await read(this.path, { query: { ...this.filter, limit: PAGE }, signal: this.signal });
      if (turn !== this.turn) return;
      this.take();
      this.book = loaded(this.book, body.items ?? [], body.next);
      for (const source of body.sources ?? []) this.sources.add(source);
      Object.assign(this, { status: 'ok', reason: null });
    } catch (error) {
      if (turn !== this.turn || this.signal.aborted) return;
      Object.assign(this, outcome(error));
    }
    this.app.ticker.now();
  }

  async older() {
    if (this.busy || this.book.older === null) return;
    this.busy = true;
    this.app.ticker.now();
    const { turn } = this;
    try {
      const { body } = await read(this.path, { query: { ...this.filter, limit: PAGE, before: this.book.older }, signal: this.signal });
      if (turn === this.turn) this.book = before(this.book.rows.length ? pause(this.book) : this.book, body.items ?? [], body.next);
      this.fault = null;
    } catch (error) {
      this.fault = t('log.older_failed', { reason: error.message });
    } finally {
      this.busy = false;
      this.app.ticker.now();
    }
  }

  /** Changes the filter; what is typed counts when typing is over. */
  want(changes, { typed = false } = {}) {
    this.wanted = { ...this.wanted, ...changes };
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.narrow(this.wanted), typed ? TYPED_MS : 0);
    this.app.ticker.now();
  }

  /** Starts anew under another filter. */
  narrow(filter) {
    this.narrowed(filter);
    Object.assign(this, { filter, wanted: filter, book: initial(), waiting: null, status: this.status === 'absent' ? 'absent' : 'loading' });
    this.load();
    this.app.ticker.now();
  }

  set(book) {
    this.book = book;
    this.app.ticker.now();
  }
}
