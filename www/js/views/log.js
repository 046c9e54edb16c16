// The log: live lines at the end, older ones by pages, filtered by level, source and text. The filters are in the
// address, so that a view can be sent to somebody.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { count } from '../core/format.js';
import { t } from '../core/i18n.js';
import { LogBook } from '../core/log_book.js';
import { card } from '../parts/card.js';
import { icon } from '../parts/icon.js';
import '../parts/log_panel.js';
import { copy_text, save_text } from '../parts/take_away.js';
import { LEVELS, TEXT_MOST, as_text, follow, pause } from '../state/log.js';

/** Typing is over when this long no key was hit. */
const TYPED_MS = 300;

export function open(app, route, signal) {
  const view = new LogView(app, route, signal);
  return { title: () => t('nav.log'), draw: () => view.draw() };
}

class LogView {
  constructor(app, route, signal) {
    this.app = app;
    this.note = null;
    const level = route.query.get('level')?.toUpperCase() ?? '';
    this.filter = {
      level: LEVELS.includes(level) ? level : '', source: route.query.get('source') ?? '', text: (route.query.get('text') ?? '').slice(0, TEXT_MOST),
    };
    this.log = new LogBook(app, { path: 'api/log', mine: ({ type }) => type === 'log' || type === 'queue_log', filter: this.filter, signal });
    app.connection.want(['log', 'queue/*'], { signal });
    signal.addEventListener('abort', () => clearTimeout(this.typing));
  }

  // ---- what the person does ----

  choose(name, value, wait_ms = 0) {
    this.filter = { ...this.filter, [name]: value };
    clearTimeout(this.typing);
    this.typing = setTimeout(() => {
      const query = new URLSearchParams(Object.entries(this.filter).filter(([, v]) => v)).toString();
      history.replaceState(null, '', `#/log${query ? `?${query}` : ''}`);
      this.log.narrow(this.filter);
    }, wait_ms);
    this.app.ticker.now();
  }

  say(tone, text) {
    this.note = [tone, text];
    this.app.ticker.now();
  }

  // ---- what it looks like ----

  draw() {
    this.log.take();
    const { app, log, filter } = this;
    const { book } = log;
    const filtered = Boolean(filter.level || filter.source || filter.text);
    const sources = [...new Set([...log.sources, ...(filter.source ? [filter.source] : [])])].sort();
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
        <log-panel .view=${{ book, label: t('log.title'), now_ms: app.store.clock.now_ms(), none: this.none(filtered), busy: log.busy }}
          @older=${() => log.older()} @pause=${() => log.set(pause(log.book))} @follow=${() => log.set(follow(log.book))}></log-panel>
        ${log.status === 'absent' ? html`<p class="hint" data-log="live-only">${t('log.live_only')}</p>` : nothing}
        ${marked ? html`<p class="hint" data-log="marks">${t('log.marks')}</p>` : nothing}
        <div class="actions">
          <button type="button" class="button" data-take="copy" aria-disabled=${book.rows.length ? 'false' : 'true'} @click=${() => this.copy()}>${t('log.copy')}</button>
          <button type="button" class="button" data-take="save" aria-disabled=${book.rows.length ? 'false' : 'true'} @click=${() => this.save()}>${icon('download')}<span>${t('log.save')}</span></button>
        </div>
        ${[this.note, log.fault && ['bad', log.fault]].map((note) => (note ? html`<p class="note" data-tone=${note[0]} role="status">${note[1]}</p>` : nothing))}`,
    })}</div>`;
  }

  /** Four reasons for an empty panel. */
  none(filtered) {
    const kind = this.log.status === 'loading' ? 'loading' : this.log.status === 'error' || this.log.status === 'denied' ? 'error' : filtered ? 'filter' : 'none';
    // The daemon looks through so much at a time; what it did not reach is asked for by hand.
    const part = kind === 'filter' && this.log.book.older !== null;
    const key = `${kind}/${part}/${this.log.reason ?? ''}`;
    // The same template every time, so that the panel sees that nothing changed.
    if (this.none_key !== key || this.none_word !== t('log.none')) {
      this.none_key = key;
      this.none_word = t('log.none');
      const words = { loading: t('log.loading'), error: t('empty.error', { reason: this.log.reason ?? '' }), filter: t(part ? 'log.no_match_yet' : 'log.no_match'), none: t('log.none') }[kind];
      this.none_shown = html`<div class="empty" data-empty=${kind}><p>${words}</p>${
        kind === 'filter' ? html`<button type="button" class="button small" @click=${() => this.clear()}>${t('log.clear')}</button>` : nothing}${
        kind === 'error' ? html`<button type="button" class="button small" @click=${() => this.log.load()}>${t('page.retry')}</button>` : nothing}</div>`;
    }
    return this.none_shown;
  }

  clear() {
    this.filter = { level: '', source: '', text: '' };
    this.choose('text', '');
  }

  copy() {
    if (!this.log.book.rows.length) return;
    const done = copy_text(as_text(this.log.book.rows));
    this.say(done ? 'good' : 'bad', done ? t('log.copied', { n: this.log.book.rows.length, count: count(this.log.book.rows.length) }) : t('log.copy_failed'));
  }

  save() {
    if (!this.log.book.rows.length) return;
    const stamp = new Date(this.app.store.clock.now_ms() ?? Date.now()).toISOString().slice(0, 19).replaceAll(':', '-');
    save_text(`log-${stamp}.txt`, as_text(this.log.book.rows));
  }
}
