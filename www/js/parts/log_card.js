// The log of one thing as a card: by level and text, following at the end.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { count } from '../core/format.js';
import { t } from '../core/i18n.js';
import { LEVELS, follow, pause } from '../state/log.js';
import { card } from './card.js';
import './log_panel.js';

/** `log` is a LogBook. */
export function log_card(app, log, { title }) {
  log.take();
  const { book, filter } = log;
  return card('log', {
    title,
    summary: html`<span class="num">${t('log.shown', { n: book.rows.length, count: count(book.rows.length) })}</span>`,
    body: () => html`
      <div class="log-filters"><label class="field"><span>${t('log.level')}</span><select name="level" @change=${(e) => log.narrow({ ...log.filter, level: e.target.value })}>
        <option value="" .selected=${!filter.level}>${t('log.level.all')}</option>
        ${LEVELS.slice(1).map((level) => html`<option value=${level} .selected=${filter.level === level}>${t(`log.level.${level}`)}</option>`)}</select></label></div>
      <log-panel class="short" .view=${{ book, label: title, now_ms: app.store.clock.now_ms(), none: none(log), busy: log.busy }}
        @older=${() => log.older()} @pause=${() => log.set(pause(log.book))} @follow=${() => log.set(follow(log.book))}></log-panel>
      ${log.status === 'absent' ? html`<p class="hint" data-log="live-only">${t('log.live_only')}</p>` : nothing}
      ${log.fault ? html`<p class="note" data-tone="bad" role="status">${log.fault}</p>` : nothing}`,
  });
}

/** Four reasons for an empty panel; the same template while the reason is the same. */
function none(log) {
  const kind = { loading: 'loading', error: 'error', denied: 'error' }[log.status] ?? (log.filter.level ? 'filter' : 'none');
  const words = { loading: t('log.loading'), error: t('empty.error', { reason: log.reason ?? '' }), filter: t('log.no_match'), none: t('log.none') }[kind];
  if (log.none?.words !== words) {
    log.none = { words, shown: html`<div class="empty" data-empty=${kind}><p>${words}</p>${
      kind === 'error' ? html`<button type="button" class="button small" @click=${() => log.load()}>${t('page.retry')}</button>` : nothing}</div>` };
  }
  return log.none.shown;
}
