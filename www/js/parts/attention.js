// What a person should see to, on top of the overview: the open alerts, worst first; more than a few are folded away, so
// that the page below stays where it is.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { clock } from '../core/format.js';
import { t } from '../core/i18n.js';
import { open_alerts } from '../state/alerts.js';
import { ack_order, figure, state_chip } from './alert_words.js';
import { chip } from './chip.js';
import { command_button, command_note } from './command_button.js';
import { icon } from './icon.js';

/** As many as leave room for the recorder on the first screen. */
const SHOWN = matchMedia('(min-width: 760px)').matches ? 3 : 2;

export function attention(app) {
  const { store } = app;
  const items = open_alerts(store.slices.alerts, store.clock.now_ms());
  const shown = app.attention_open ? items : items.slice(0, SHOWN);
  const toggle = () => {
    app.attention_open = !app.attention_open;
    app.ticker.now();
  };
  return html`<section class="attention" id="card-attention" aria-labelledby="attention-title" data-count=${items.length}>
    <h2 id="attention-title" class=${items.length ? '' : 'visually-hidden'}>${t('attention.title')}</h2>
    ${items.length ? html`<ul>${repeat(shown, (entry) => entry.payload.alert_id, (entry) => alert_row(app, entry))}</ul>` : calm(store)}
    ${items.length > SHOWN ? html`<button type="button" class="button small" aria-expanded=${app.attention_open ? 'true' : 'false'} @click=${toggle}>${
      app.attention_open ? t('attention.less') : t('attention.more', { n: items.length - SHOWN })}</button>` : nothing}
  </section>`;
}

/** "Nothing" is said only when it is known. */
function calm(store) {
  const [tone, shape, key] = !store.complete ? ['off', 'circle-dashed', 'attention.unknown']
    : store.connected() ? ['good', 'circle-check', 'attention.none'] : ['off', 'clock', 'attention.lost'];
  return html`<p class="calm" data-tone=${tone}>${icon(shape)}<span>${t(key)}</span></p>`;
}

function alert_row(app, entry) {
  const p = entry.payload;
  const now = app.store.clock.now_ms();
  const seen = p.state === 'acknowledged';
  const order = ack_order(p);
  return html`<li class="alert" data-severity=${p.severity} data-state=${p.state}>
    <div class="alert-what">${chip('alert', p.severity)}${state_chip(p, now)}
      <a class="link alert-message" href=${`#/alerts/${encodeURIComponent(p.alert_id)}`}>${p.message}</a></div>
    <div class="row-sub"><span class="num">${p.cleared_at ? t('alert.cleared', { time: clock(p.cleared_at, now) }) : t('alert.raised', { time: clock(p.raised_at, now) })}</span>
      ${figure(p) ? html`<span class="num">${figure(p)}</span>` : nothing}
      ${p.occurrence > 1 ? html`<span class="num">${t('alert.occurrence', { n: p.occurrence })}</span>` : nothing}
      ${seen && p.acked_by ? html`<span>${t('alert.acked_by', { who: p.acked_by })}</span>` : nothing}
      ${p.guidance && p.state === 'active' ? html`<span class="guidance">${p.guidance}</span>` : nothing}</div>
    <div class="alert-act">${seen ? nothing : command_button(app, { order, label: t('alert.ack'), shape: 'check', name: p.message })}</div>
    <div class="notes">${command_note(app, { order })}</div>
  </li>`;
}
