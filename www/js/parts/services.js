// System services with what may be done to them. Stopping one takes two steps, as does restarting it.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { clock } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { shown_services } from '../state/services.js';
import { card, empty } from './card.js';
import { chip } from './chip.js';
import { command_button, command_note } from './command_button.js';
import { age_tag } from './value.js';

const ACTIONS = ['start', 'restart', 'stop'];
const SHAPES = { start: 'play', restart: 'refresh-cw', stop: 'square' };
/** A restart shows only by its `command_result`. */
const EFFECT = { start: ['active', 'waiting'], stop: ['inactive'] };

export function services_panel(app) {
  const { services } = app.store.slices;
  return card('services', {
    title: t('services.title'),
    body: () => (services.size ? html`<ul class="rows">${repeat(shown_services(services), ({ id }) => id, ({ id, entry }) => service_row(app, id, entry))}</ul>`
      : empty(app, t('services.none'))),
  });
}

function service_row(app, id, entry) {
  const p = entry.payload;
  const fresh = app.judge(entry);
  const can = ACTIONS.filter((action) => p.can?.includes(action));
  const orders = Object.fromEntries(can.map((action) => [action, {
    target: `service/${id}`, action, path: `api/services/${encodeURIComponent(id)}/${action}`, effect: EFFECT[action] ?? [],
  }]));
  const button = (action) => {
    const destructive = action === 'start' ? null : { title: t(`services.${action}_title`, { name: id }), loss: t(`services.${action}_loss`, { name: id }), action: t(`action.${action}`) };
    const done = (action === 'start' && p.status === 'active') || (action === 'stop' && p.status === 'inactive');
    return command_button(app, { order: orders[action], label: t(`action.${action}`), shape: SHAPES[action], destructive, name: id, blocked: done ? t('action.not_now', { state: word('service', p.status) }) : null });
  };
  const gentle = can.filter((action) => action === 'start');
  const harsh = can.filter((action) => action !== 'start');
  return html`<li class="row" data-service=${id} data-status=${p.status}>
    <div class="row-head"><span class="row-name">${id}</span>${chip('service', p.status, { quiet: true })}</div>
    <div class="row-sub">${p.description ? html`<span class="guidance">${p.description}</span>` : nothing}
      ${p.since ? html`<span class="num">${t('time.since', { time: clock(p.since, app.store.clock.now_ms()) })}</span>` : nothing}
      ${p.restarts ? html`<span class="num">${t('services.restarts', { n: p.restarts })}</span>` : nothing}
      ${p.triggered_by?.length ? html`<span>${t('services.triggered_by', { who: p.triggered_by.join(', ') })}</span>` : nothing}
      ${fresh.stale ? age_tag(fresh) : nothing}</div>
    ${gentle.length ? html`<div class="actions">${gentle.map(button)}</div>` : nothing}
    ${harsh.length ? html`<div class="actions apart">${harsh.map(button)}</div>` : nothing}
    <div class="notes">${can.map((action) => command_note(app, { order: orders[action] }))}</div></li>`;
}
