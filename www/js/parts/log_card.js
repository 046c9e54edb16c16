// The log of one thing as a card: by level and text, as on the log page, following at the end.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { address } from '../core/api.js';
import { count } from '../core/format.js';
import { t } from '../core/i18n.js';
import { LEVELS, TEXT_MOST, follow, pause } from '../state/log.js';
import { card } from './card.js';
import { icon } from './icon.js';
import './log_panel.js';

/** `log` is a LogBook; `name` is that of its file. */
export function log_card(app, log, { title, name }) {
  log.take();
  const { book, wanted } = log;
  return card('log', {
    title,
    summary: html`<span class="num">${t('log.shown', { n: book.rows.length, count: count(book.rows.length) })}</span>`,
    body: () => html`
      <form class="log-filters" @submit=${(e) => e.preventDefault()}><label class="field"><span>${t('log.level')}</span><select name="level" .value=${live(wanted.level ?? '')} @change=${(e) => log.want({ level: e.target.value })}>
        <option value="" ?selected=${!wanted.level}>${t('log.level.all')}</option>
        ${LEVELS.slice(1).map((level) => html`<option value=${level} ?selected=${wanted.level === level}>${t(`log.level.${level}`)}</option>`)}</select></label>
        <label class="field log-search"><span>${t('log.text')}</span><input type="search" name="text" maxlength=${TEXT_MOST} autocomplete="off" autocapitalize="off" spellcheck="false"
          .value=${live(wanted.text ?? '')} @input=${(e) => log.want({ text: e.target.value }, { typed: true })}></label>
        <a class="button" data-log-file href=${address(log.path, { format: 'text' })} download=${`${name}.log`}>${icon('download')}<span>${t('log.file')}</span></a></form>
      <log-panel class="short" .view=${{ book, label: title, now_ms: app.store.clock.now_ms(), none: none(log), busy: log.busy }}
        @older=${() => log.older()} @pause=${() => log.set(pause(log.book))} @follow=${() => log.set(follow(log.book))}></log-panel>
      ${log.status === 'absent' ? html`<p class="hint" data-log="live-only">${t('log.live_only')}</p>` : nothing}
      ${log.fault ? html`<p class="note" data-tone="bad" role="status">${log.fault}</p>` : nothing}`,
  });
}

/** Four reasons for an empty panel; the same template while the reason is the same. */
function none(log) {
  const kind = { loading: 'loading', error: 'error', denied: 'error' }[log.status] ?? (log.filter.level || log.filter.text ? 'filter' : 'none');
  // The daemon looks through so much at a time; what it did not reach is asked for by hand.
  const part = log.book.older !== null;
  const words = { loading: t('log.loading'), error: t('empty.error', { reason: log.reason ?? '' }), filter: t(part ? 'log.no_match_yet' : 'log.no_match'), none: t('log.none') }[kind];
  if (log.none?.words !== words) {
    log.none = { words, shown: html`<div class="empty" data-empty=${kind}><p>${words}</p>${
      kind === 'filter' ? html`<button type="button" class="button small" @click=${() => log.want({ level: '', text: '' })}>${t('log.clear')}</button>` : nothing}${
      kind === 'error' ? html`<button type="button" class="button small" @click=${() => log.load()}>${t('page.retry')}</button>` : nothing}</div>` };
  }
  return log.none.shown;
}
