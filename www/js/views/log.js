// The log: live lines at the end, older ones by pages, filtered by level, source and text. The filters are in the
// address, so that a view can be sent to somebody.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { read } from '../core/api.js';
import { count } from '../core/format.js';
import { t } from '../core/i18n.js';
import { outcome } from '../core/remote.js';
import { card } from '../parts/card.js';
import { icon } from '../parts/icon.js';
import '../parts/log_panel.js';
import { copy_text, save_text } from '../parts/take_away.js';
import { LEVELS, MOST, as_text, before, came, follow, initial, line_of, loaded, passes, pause } from '../state/log.js';

const PAGE = 200;
/** Typing is over when this long no key was hit. */
const TYPED_MS = 300;
const TEXT_MOST = 200;

export function open(app, route, signal) {
  const view = new LogView(app, route, signal);
  return { title: () => t('nav.log'), draw: () => view.draw() };
}

class LogView {
  constructor(app, route, signal) {
    Object.assign(this, { app, signal });
    this.book = initial();
    this.sources = new Set();
    this.status = 'loading';
    this.reason = null;
    this.turn = 0;
    this.busy = false;
    this.note = null;
    this.gaps = app.store.gaps.at(-1);
    const level = route.query.get('level')?.toUpperCase() ?? '';
    this.filter = {
      level: LEVELS.includes(level) ? level : '', source: route.query.get('source') ?? '', text: (route.query.get('text') ?? '').slice(0, TEXT_MOST),
    };
    app.store.listen((envelope) => this.event(envelope), signal);
    app.connection.want(['log', 'queue/*'], { signal });
    signal.addEventListener('abort', () => clearTimeout(this.typing));
    this.load();
  }

  // ---- what comes ----

  event(envelope) {
    if (envelope.type !== 'log' && envelope.type !== 'queue_log') return;
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

  /** The newest page under the present filters. */
  async load() {
    const turn = (this.turn += 1);
    try {
      const { body } = await read('api/log', { query: { ...this.filter, limit: PAGE }, signal: this.signal });
      if (turn !== this.turn) return;
      this.take();
      this.book = loaded(this.book, body.items ?? [], body.next);
      for (const source of body.sources ?? []) this.sources.add(source);
      this.status = 'ok';
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
      const { body } = await read('api/log', { query: { ...this.filter, limit: PAGE, before: this.book.older }, signal: this.signal });
      if (turn === this.turn) this.book = before(this.book.rows.length ? pause(this.book) : this.book, body.items ?? [], body.next);
      this.note = null;
    } catch (error) {
      this.note = ['bad', t('log.older_failed', { reason: error.message })];
    } finally {
      this.busy = false;
      this.app.ticker.now();
    }
  }

  // ---- what the person does ----

  choose(name, value, wait_ms = 0) {
    this.filter = { ...this.filter, [name]: value };
    clearTimeout(this.typing);
    this.typing = setTimeout(() => {
      this.book = initial();
      this.waiting = null;
      this.status = this.status === 'absent' ? 'absent' : 'loading';
      const query = new URLSearchParams(Object.entries(this.filter).filter(([, v]) => v)).toString();
      history.replaceState(null, '', `#/log${query ? `?${query}` : ''}`);
      this.load();
      this.app.ticker.now();
    }, wait_ms);
    this.app.ticker.now();
  }

  set(book) {
    this.book = book;
    this.app.ticker.now();
  }

  say(tone, text) {
    this.note = [tone, text];
    this.app.ticker.now();
  }

  // ---- what it looks like ----

  draw() {
    this.take();
    const { app, book, filter } = this;
    const filtered = Boolean(filter.level || filter.source || filter.text);
    const sources = [...new Set([...this.sources, ...(filter.source ? [filter.source] : [])])].sort();
    const marked = book.rows.some((line) => line.corrected || line.clock === 'unsynced');
    return html`<div class="overview">${card('log', {
      title: t('log.title'),
      summary: html`<span class="num">${t('log.shown', { n: book.rows.length, count: count(book.rows.length) })}</span>`,
      body: () => html`
        <form class="log-filters" @submit=${(event) => event.preventDefault()}>
          <label class="field"><span>${t('log.level')}</span><select name="level" .value=${live(filter.level)} @change=${(e) => this.choose('level', e.target.value)}>
            <option value="" ?selected=${filter.level === ''}>${t('log.level.all')}</option>
            ${LEVELS.slice(1).map((level) => html`<option value=${level} ?selected=${filter.level === level}>${t(`log.level.${level}`)}</option>`)}</select></label>
          <label class="field"><span>${t('log.source')}</span><select name="source" @change=${(e) => this.choose('source', e.target.value)}>
            <option value="" ?selected=${filter.source === ''}>${t('log.source.all')}</option>
            ${sources.map((source) => html`<option value=${source} ?selected=${filter.source === source}>${source}</option>`)}</select></label>
          <label class="field log-search"><span>${t('log.text')}</span><input type="search" name="text" maxlength=${TEXT_MOST} autocomplete="off" autocapitalize="off" spellcheck="false"
            .value=${live(filter.text)} @input=${(e) => this.choose('text', e.target.value, TYPED_MS)}></label>
        </form>
        <log-panel .view=${{ book, label: t('log.title'), now_ms: app.store.clock.now_ms(), none: this.none(filtered), busy: this.busy }}
          @older=${() => this.older()} @pause=${() => this.set(pause(this.book))} @follow=${() => this.set(follow(this.book))}></log-panel>
        ${this.status === 'absent' ? html`<p class="hint" data-log="live-only">${t('log.live_only')}</p>` : nothing}
        ${marked ? html`<p class="hint" data-log="marks">${t('log.marks')}</p>` : nothing}
        <div class="actions">
          <button type="button" class="button" data-take="copy" aria-disabled=${book.rows.length ? 'false' : 'true'} @click=${() => this.copy()}>${t('log.copy')}</button>
          <button type="button" class="button" data-take="save" aria-disabled=${book.rows.length ? 'false' : 'true'} @click=${() => this.save()}>${icon('download')}<span>${t('log.save')}</span></button>
        </div>
        ${this.note ? html`<p class="note" data-tone=${this.note[0]} role="status">${this.note[1]}</p>` : nothing}`,
    })}</div>`;
  }

  /** Four reasons for an empty panel. */
  none(filtered) {
    const kind = this.status === 'loading' ? 'loading' : this.status === 'error' || this.status === 'denied' ? 'error' : filtered ? 'filter' : 'none';
    // The daemon looks through so much at a time; what it did not reach is asked for by hand.
    const part = kind === 'filter' && this.book.older !== null;
    const key = `${kind}/${part}/${this.reason ?? ''}`;
    // The same template every time, so that the panel sees that nothing changed.
    if (this.none_key !== key || this.none_word !== t('log.none')) {
      this.none_key = key;
      this.none_word = t('log.none');
      const words = { loading: t('log.loading'), error: t('empty.error', { reason: this.reason ?? '' }), filter: t(part ? 'log.no_match_yet' : 'log.no_match'), none: t('log.none') }[kind];
      this.none_shown = html`<div class="empty" data-empty=${kind}><p>${words}</p>${
        kind === 'filter' ? html`<button type="button" class="button small" @click=${() => this.clear()}>${t('log.clear')}</button>` : nothing}${
        kind === 'error' ? html`<button type="button" class="button small" @click=${() => this.load()}>${t('page.retry')}</button>` : nothing}</div>`;
    }
    return this.none_shown;
  }

  clear() {
    this.filter = { level: '', source: '', text: '' };
    this.choose('text', '');
  }

  copy() {
    if (!this.book.rows.length) return;
    const done = copy_text(as_text(this.book.rows));
    this.say(done ? 'good' : 'bad', done ? t('log.copied', { n: this.book.rows.length, count: count(this.book.rows.length) }) : t('log.copy_failed'));
  }

  save() {
    if (!this.book.rows.length) return;
    const stamp = new Date(this.app.store.clock.now_ms() ?? Date.now()).toISOString().slice(0, 19).replaceAll(':', '-');
    save_text(`log-${stamp}.txt`, as_text(this.book.rows));
  }
}
