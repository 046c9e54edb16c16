// The log: live lines at the end, older ones by pages, filtered by level, source and text. The filters are in the
// address, so that a view can be sent to somebody.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { count } from '../core/format.js';
import { t } from '../core/i18n.js';
import { LogBook } from '../core/log_book.js';
import { card } from '../parts/card.js';
import { icon } from '../parts/icon.js';
import { level_field, log_count, log_view, text_field } from '../parts/log_card.js';
import { copy_text, save_text } from '../parts/take_away.js';
import { LEVELS, TEXT_MOST, as_text } from '../state/log.js';

export function open(app, route, signal) {
  const view = new LogView(app, route, signal);
  return { title: () => t('nav.log'), draw: () => view.draw() };
}

function stand_in_address(filter) {
  const query = new URLSearchParams(Object.entries(filter).filter(([, v]) => v)).toString();
  history.replaceState(null, '', `#/log${query ? `?${query}` : ''}`);
}

class LogView {
  constructor(app, route, signal) {
    this.app = app;
    this.note = null;
    const level = route.query.get('level')?.toUpperCase() ?? '';
    const filter = {
      level: LEVELS.includes(level) ? level : '', source: route.query.get('source') ?? '', text: (route.query.get('text') ?? '').slice(0, TEXT_MOST),
    };
    this.log = new LogBook(app, { path: 'api/log', mine: ({ type }) => type === 'log' || type === 'queue_log', filter, narrowed: stand_in_address, signal });
    app.connection.want(['log', 'queue/*'], { signal });
  }

  // ---- what the person does ----

  say(tone, text) {
    this.note = [tone, text];
    this.app.ticker.now();
  }

  // ---- what it looks like ----

  draw() {
    this.log.take();
    const { app, log } = this;
    const { book, wanted } = log;
    const sources = [...new Set([...log.sources, ...(wanted.source ? [wanted.source] : [])])].sort();
    const marked = book.rows.some((line) => line.corrected || line.clock === 'unsynced');
    return html`<div class="overview">${card('log', {
      title: t('log.title'),
      summary: log_count(log),
      body: () => html`
        <form class="log-filters" @submit=${(event) => event.preventDefault()}>
          ${level_field(log)}
          <label class="field"><span>${t('log.source')}</span><select name="source" @change=${(e) => log.want({ source: e.target.value })}>
            <option value="" ?selected=${wanted.source === ''}>${t('log.source.all')}</option>
            ${sources.map((source) => html`<option value=${source} ?selected=${wanted.source === source}>${source}</option>`)}</select></label>
          ${text_field(log)}
        </form>
        ${log_view(app, log, { label: t('log.title') })}
        ${marked ? html`<p class="hint" data-log="marks">${t('log.marks')}</p>` : nothing}
        <div class="actions">
          <button type="button" class="button" data-take="copy" aria-disabled=${book.rows.length ? 'false' : 'true'} @click=${() => this.copy()}>${t('log.copy')}</button>
          <button type="button" class="button" data-take="save" aria-disabled=${book.rows.length ? 'false' : 'true'} @click=${() => this.save()}>${icon('download')}<span>${t('log.save')}</span></button>
        </div>
        ${this.note ? html`<p class="note" data-tone=${this.note[0]} role="status">${this.note[1]}</p>` : nothing}`,
    })}</div>`;
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
