// The log of one thing as a card: by level and text, following at the end. And what that card has in common with the log
// page: the fields, the panel and the reasons for an empty one.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { address } from '../core/api.js';
import { count } from '../core/format.js';
import { t } from '../core/i18n.js';
import { LEVELS, TEXT_MOST, follow, pause, why_empty } from '../state/log.js';
import { card } from './card.js';
import { icon } from './icon.js';
import './log_panel.js';

/** `log` is a LogBook; `name` is that of its file. */
export function log_card(app, log, { title, name }) {
  log.take();
  return card('log', {
    title,
    summary: log_count(log),
    body: () => html`
      <form class="log-filters" @submit=${(e) => e.preventDefault()}>${level_field(log)}${text_field(log)}
        <a class="button" data-log-file href=${address(log.path, { format: 'text' })} download=${`${name}.log`}>${icon('download')}<span>${t('log.file')}</span></a></form>
      ${log_view(app, log, { label: title, short: true })}`,
  });
}

export const log_count = ({ book: { rows } }) => html`<span class="num">${t('log.shown', { n: rows.length, count: count(rows.length) })}</span>`;

export const level_field = (log) => html`<label class="field"><span>${t('log.level')}</span><select name="level" .value=${live(log.wanted.level ?? '')} @change=${(e) => log.want({ level: e.target.value })}>
  <option value="" ?selected=${!log.wanted.level}>${t('log.level.all')}</option>
  ${LEVELS.slice(1).map((level) => html`<option value=${level} ?selected=${log.wanted.level === level}>${t(`log.level.${level}`)}</option>`)}</select></label>`;

export const text_field = (log) => html`<label class="field log-search"><span>${t('log.text')}</span><input type="search" name="text" maxlength=${TEXT_MOST} autocomplete="off" autocapitalize="off" spellcheck="false"
  .value=${live(log.wanted.text ?? '')} @input=${(e) => log.want({ text: e.target.value }, { typed: true })}></label>`;

/** The lines, and what there is to say about them. */
export function log_view(app, log, { label, short = false }) {
  return html`<log-panel class=${short ? 'short' : ''} .view=${{ book: log.book, label, now_ms: app.store.clock.now_ms(), none: none(log), busy: log.busy }}
      @older=${() => log.older()} @pause=${() => log.set(pause(log.book))} @follow=${() => log.set(follow(log.book))}></log-panel>
    ${log.status === 'absent' ? html`<p class="hint" data-log="live-only">${t('log.live_only')}</p>` : nothing}
    ${log.fault ? html`<p class="note" data-tone="bad" role="status">${log.fault}</p>` : nothing}`;
}

/** Why there is no line; the same template while the reason is the same, so that the panel sees that nothing changed. */
function none(log) {
  const kind = why_empty(log.status, log.filter);
  // The daemon looks through so much at a time; what it did not reach is asked for by hand.
  const words = { loading: () => t('log.loading'), error: () => t('empty.error', { reason: log.reason ?? '' }), filter: () => t(log.book.older === null ? 'log.no_match' : 'log.no_match_yet'), none: () => t('log.none') }[kind]();
  if (log.none?.words !== words) {
    log.none = { words, shown: html`<div class="empty" data-empty=${kind}><p>${words}</p>${
      kind === 'filter' ? html`<button type="button" class="button small" @click=${() => log.want({ level: '', source: '', text: '' })}>${t('log.clear')}</button>` : nothing}${
      kind === 'error' ? html`<button type="button" class="button small" @click=${() => log.load()}>${t('page.retry')}</button>` : nothing}</div>` };
  }
  return log.none.shown;
}
