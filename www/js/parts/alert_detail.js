// One alert in full: what, how bad, since when, the value against its limit, where from, what to do, who knows, and the
// buttons to acknowledge it and to put it off.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { clock, number, span } from '../core/format.js';
import { t } from '../core/i18n.js';
import { snoozed } from '../state/alerts.js';
import { ack_order, figure, state_chip } from './alert_words.js';
import { chip } from './chip.js';
import { command_button, command_note } from './command_button.js';
import { icon } from './icon.js';

const SPANS = ['1h', '1d', '1w', 'restart'];

const snooze_order = (p, how) => ({
  target: `alert/${p.alert_id}`, action: how === 'none' ? 'wake' : 'snooze', path: `api/alerts/${encodeURIComponent(p.alert_id)}/snooze`,
  body: { occurrence: p.occurrence, for: how },
});

/** Where an alert comes from: the page of its source, if it is one. */
export function origin(app, source) {
  if (!source) return nothing;
  const known = app.store.slices.sources.has(source);
  return known ? html`<a class="link" href=${`#/system/sources/${encodeURIComponent(source)}`}>${source}</a>` : html`<span>${source}</span>`;
}

/** `aimed`: the address names this one. `delivered` is receiver -> how that went, where it is known. */
export function alert_detail(app, entry, { aimed, delivered }) {
  const p = entry.payload;
  const now = app.store.clock.now_ms();
  const off = snoozed(p, now);
  const fresh = app.judge(entry);
  const known = p.state === 'acknowledged' || p.state === 'closed';
  const orders = [ack_order(p), snooze_order(p, '1h'), snooze_order(p, 'none')];
  return html`<li class="alert full" id=${`alert-${p.alert_id}`} data-alert=${p.alert_id} data-severity=${p.severity} data-state=${p.state} ?data-snoozed=${off} ?data-aimed=${aimed} tabindex="-1">
    <div class="alert-what">${chip('alert', p.severity)}${state_chip(p, now)}${p.latched ? html`<span class="tag">${t('alert.latched')}</span>` : nothing}
      <h3 class="alert-message">${p.message}</h3></div>
    ${p.guidance ? html`<p class="alert-guidance">${icon('info')}<span>${p.guidance}</span></p>` : nothing}
    <dl class="facts below">
      ${figure(p) ? item(t('alerts.value'), html`<span class="num">${figure(p)}</span>`) : nothing}
      ${item(t('alerts.raised'), when(app, p.raised_at, now, fresh, entry))}
      ${p.cleared_at ? item(t('alerts.cleared'), when(app, p.cleared_at, now, fresh, entry)) : nothing}
      ${p.acked_at ? item(t('alerts.acked'), html`${when(app, p.acked_at, now, fresh, entry)}${p.acked_by ? html` <span>${t('alerts.by', { who: p.acked_by })}</span>` : nothing}`) : nothing}
      ${off ? item(t('alerts.snoozed'), p.snoozed_until === 'restart' ? t('alerts.until_restart') : html`<span class="num">${t('alerts.until', { time: clock(p.snoozed_until, now) })}</span>`) : nothing}
      ${item(t('alerts.occurrence'), html`<span class="num">${number(p.occurrence)}</span>`)}
      ${typeof p.count === 'number' && p.count > 1 ? item(t('alerts.count'), html`<span class="num">${number(p.count)}</span>`) : nothing}
      ${p.blocks?.length ? item(t('alerts.blocks'), html`<span>${p.blocks.join(', ')}</span>`) : nothing}
      ${p.source ? item(t('alerts.source'), origin(app, p.source)) : nothing}
      ${delivered ? item(t('alerts.delivered'), Object.entries(delivered).map(([name, how]) => html`<span class="delivered">${name} ${chip('delivery', how, { quiet: true })}</span>`)) : nothing}
    </dl>
    <div class="actions">
      ${known ? nothing : command_button(app, { order: orders[0], label: t(p.latch && p.state === 'cleared' ? 'alert.reset' : 'alert.ack'), shape: 'check', primary: true, name: p.message })}
      ${p.state === 'closed' ? nothing : off
        ? command_button(app, { order: orders[2], label: t('alerts.wake'), shape: 'bell', name: p.message })
        : snooze_menu(app, p)}
    </div>
    <div class="notes">${orders.map((order) => command_note(app, { order }))}</div>
  </li>`;
}

/** The choices open below the button, in the row of buttons: nothing else moves but what is below. */
function snooze_menu(app, p) {
  const close = (event) => { event.target.closest('details').open = false; };
  return html`<details class="menu"><summary class="button">${icon('clock')}<span>${t('alerts.snooze')}</span><span class="visually-hidden">: ${p.message}</span></summary>
    <div class="menu-items" @click=${close}>${SPANS.map((how) => html`<div>${
      command_button(app, { order: snooze_order(p, how), label: t(`alerts.snooze.${how}`), name: p.message })}</div>`)}</div></details>`;
}

const item = (name, content) => html`<div class="fact"><dt>${name}</dt><dd>${content}</dd></div>`;

/** A time of day with its age, both by the clock of the box. */
function when(app, stamp, now, fresh, entry) {
  const age_s = (Date.parse(entry.stamp) - Date.parse(stamp)) / 1_000 + fresh.age_s;
  return html`<span class="num">${clock(stamp, now)}</span> <span class="age">${t('alerts.ago', { span: span(Math.max(0, age_s)) })}</span>`;
}
