// Every instrument: how it is, what it reads, where it goes, who uses it.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { t, word } from '../core/i18n.js';
import { blocked_note } from '../parts/blocked.js';
import { card, empty } from '../parts/card.js';
import { icon } from '../parts/icon.js';
import { dot, moving_reading } from '../parts/instrument.js';
import { lab_tabs } from '../parts/lab_tabs.js';
import { age_tag } from '../parts/value.js';
import { LIMIT_S } from '../state/freshness.js';
import { instrument_counts, shown_instruments } from '../state/instruments.js';
import { channel_rows } from '../state/motion.js';

const CHANNELS = 8;

export function open(app, _route, signal) {
  app.connection.want(['instrument/*'], { signal });
  return { title: () => t('nav.instruments'), draw: () => draw(app) };
}

function draw(app) {
  const { instruments } = app.store.slices;
  const counts = instrument_counts(instruments);
  const rows = shown_instruments(instruments).sort((a, b) => (a.id < b.id ? -1 : 1));
  return html`<div class="overview lab">
    ${lab_tabs('instruments', app)}
    ${instruments.size ? html`<p class="muted num" data-counts>${t('instruments.connected', { n: counts.connected })}${counts.error ? html`, <strong data-tone="bad">${t('instruments.error', { n: counts.error })}</strong>` : nothing}${
      counts.disconnected ? html`, <strong data-tone="bad">${t('instruments.disconnected', { n: counts.disconnected })}</strong>` : nothing}</p>
      <div class="tiles">${repeat(rows, ({ id }) => id, ({ id, entry }) => tile(app, id, entry))}</div>` : card('instruments', { title: t('instruments.title'), body: () => empty(app, t('instruments.none')) })}
  </div>`;
}

function tile(app, id, entry) {
  const p = entry.payload;
  const channels = channel_rows(p);
  const fresh = app.judge(entry, LIMIT_S.instrument);
  return card(`instrument-${id}`, {
    title: html`<a class="card-link" href=${`#/instrument/${encodeURIComponent(id)}`}>${p.instrument_name || id}${icon('chevron-right')}</a>`,
    summary: age_tag(fresh),
    body: () => html`
      <div ?data-changed=${app.changes.of(`instrument/${id}`, p.status)}>${dot(p, fresh)}</div>
      ${blocked_note(app, `instrument/${id}`)}
      ${p.error ? html`<p class="row-error" data-tone="bad">${p.error}</p>` : nothing}
      ${channels.length ? html`<dl class="readings">${channels.slice(0, CHANNELS).map((r) => moving_reading(app, entry, r))}</dl>` : html`<p class="muted">${t('instruments.no_values')}</p>`}
      ${channels.length > CHANNELS ? html`<p class="more">${t('list.more', { n: channels.length - CHANNELS })}</p>` : nothing}
      ${p.used_by ? html`<p class="row-sub"><span class="clip">${t('instruments.used_by', { who: p.used_by })}</span></p>` : nothing}`,
  });
}
