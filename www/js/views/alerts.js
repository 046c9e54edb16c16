// Alerts: the open ones with all that can be done about them, what was, the rules, how they are delivered, and how this
// device calls. `#/alerts/ID` opens at one of them.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { clock, count, duration, number, unit } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { Remote } from '../core/remote.js';
import { alarm_choice } from '../parts/alarm_choice.js';
import { alert_detail, origin } from '../parts/alert_detail.js';
import { figure } from '../parts/alert_words.js';
import { card, empty } from '../parts/card.js';
import { chip } from '../parts/chip.js';
import { command_button, command_note } from '../parts/command_button.js';
import { remote_empty } from '../parts/remote.js';
import { arrange, with_history } from '../state/alert_list.js';
import { calling, open_alerts } from '../state/alerts.js';

const PAGE = 50;
const HISTORY_MOST = 500;
/** Alerts whose deliveries are asked for. */
const TOLD_MOST = 12;
/** Several changes at once are one question. */
const AFTER_MS = 300;
const REFRESH_MS = 5_000;
/** After the last touch of the list its order stands this long. */
const HOLD_MS = 4_000;

export function open(app, route, signal) {
  const view = new AlertsView(app, route, signal);
  return { title: () => t('nav.alerts'), draw: () => view.draw() };
}

class AlertsView {
  constructor(app, route, signal) {
    Object.assign(this, { app, signal, aimed: route.parts[0] ?? null, shown: null, held_until: 0, rows: [], next: null, busy: false, revealed: false, delivered: new Map(), told: '' });
    this.history = new Remote(app, 'api/alerts', { query: () => ({ history: 'true', limit: PAGE }), signal });
    this.rules = new Remote(app, 'api/alerts/rules', { every_ms: REFRESH_MS, signal });
    this.deliveries = new Remote(app, 'api/alerts/deliveries', { signal });
    app.store.listen((envelope) => this.event(envelope), signal);
    this.load_history();
    this.rules.load();
    this.load_deliveries();
    const timer = setInterval(() => document.visibilityState === 'visible' && this.load_deliveries(), REFRESH_MS);
    signal.addEventListener('abort', () => clearInterval(timer));
  }

  event(envelope) {
    if (envelope.type !== 'alert') return;
    const { payload } = envelope;
    if (this.history.status === 'ok') this.rows = with_history(this.rows, [{ ...payload, id: envelope.id }], { newer: true }).slice(0, HISTORY_MOST);
    clearTimeout(this.again);
    this.again = setTimeout(() => {
      if (this.signal.aborted) return;
      this.rules.load();
      this.load_deliveries();
    }, AFTER_MS);
  }

  /** The receivers, and what each has been told of the open alerts, as far as something moved since the last look. */
  async load_deliveries() {
    const body = await this.deliveries.load();
    if (!body?.channels?.length) return;
    const open = open_alerts(this.app.store.slices.alerts).slice(0, TOLD_MOST).map((e) => e.payload);
    const told = JSON.stringify([body.channels, open.map((p) => [p.alert_id, p.occurrence, p.state])]);
    if (told === this.told) return;
    this.told = told;
    const found = await Promise.all(open.map(async ({ alert_id: id }) => {
      const one = new Remote(this.app, `api/alerts/${encodeURIComponent(id)}`, { signal: this.signal });
      return [id, (await one.load())?.delivered];
    }));
    this.delivered = new Map(found.filter(([, delivered]) => delivered));
    this.app.ticker.now();
  }

  async load_history() {
    const body = await this.history.load();
    if (!body) return;
    // A daemon that keeps none answers with the open ones, and without a way on.
    if (!('next' in body)) this.history.status = 'absent';
    else Object.assign(this, { rows: with_history([], body.items), next: body.next });
  }

  async older() {
    if (this.busy) return;
    this.busy = true;
    this.app.ticker.now();
    const page = new Remote(this.app, 'api/alerts', { query: () => ({ history: 'true', limit: PAGE, before: this.next }), signal: this.signal });
    const body = await page.load();
    this.busy = false;
    this.older_fault = page.status === 'ok' ? null : page.reason;
    if (body) Object.assign(this, { rows: with_history(this.rows, body.items).slice(0, HISTORY_MOST), next: body.next });
    this.app.ticker.now();
  }

  hold() {
    this.held_until = performance.now() + HOLD_MS;
  }

  draw() {
    return html`<div class="overview">
      ${this.open_card()}
      <div class="columns">
        <div class="column">${this.history_card()}</div>
        <div class="column">${alarm_choice(this.app)}${this.rules_card()}${this.deliveries_card()}</div>
      </div></div>`;
  }

  // ---- open ----

  open_card() {
    const { app } = this;
    const { alerts } = app.store.slices;
    const now = app.store.clock.now_ms();
    const place = document.getElementById('alerts-open');
    const held = performance.now() < this.held_until || Boolean(place?.contains(document.activeElement) && place.querySelector('details[open]'));
    this.shown = arrange(this.shown, alerts, now, held);
    if (this.aimed && !this.revealed && app.store.complete) this.reveal();
    const { count: waiting } = calling(alerts, now);
    const hold = () => this.hold();
    return card('open', {
      title: t('alerts.open'),
      summary: app.store.complete ? html`<span class="num" data-calling=${waiting}>${t('alerts.calling', { n: waiting })}</span>` : null,
      body: () => (this.shown.length ? html`<ul class="alerts" id="alerts-open" @pointerdown=${hold} @pointermove=${hold} @focusin=${hold}>${
        repeat(this.shown, (e) => e.payload.alert_id, (e) => alert_detail(app, e, { aimed: e.payload.alert_id === this.aimed, delivered: this.delivered.get(e.payload.alert_id) }))}</ul>`
        : empty(app, app.store.connected() ? t('alerts.none') : t('attention.lost'))),
    });
  }

  /** Brings the alert the address names into sight, once. */
  reveal() {
    this.revealed = true;
    requestAnimationFrame(() => {
      const row = document.getElementById(`alert-${this.aimed}`);
      if (this.signal.aborted || !row) return;
      row.scrollIntoView({ block: 'center' });
      row.focus({ preventScroll: true });
    });
  }

  // ---- history ----

  history_card() {
    const { app, history, rows } = this;
    const gone = this.aimed && app.store.complete && !app.store.slices.alerts.has(this.aimed);
    return card('history', {
      title: t('alerts.history'),
      body: () => html`${gone ? html`<p class="note" data-tone="off" role="status">${t('alerts.not_open', { id: this.aimed })}</p>` : nothing}
        ${rows.length ? html`<ul class="rows tight">${repeat(rows, (p) => `${p.alert_id}/${p.occurrence}`, (p) => history_row(app, p, this.aimed))}</ul>
          ${rows.length >= HISTORY_MOST ? html`<p class="more">${t('alerts.history_full', { n: HISTORY_MOST })}</p>` : this.next ? html`<div class="actions"><button type="button" class="button small" data-older aria-disabled=${this.busy ? 'true' : 'false'}
            @click=${() => this.older()}>${this.busy ? t('log.loading_older') : t('alerts.older')}</button></div>` : nothing}
          ${this.older_fault ? html`<p class="note" data-tone="bad">${t('empty.error', { reason: this.older_fault })}</p>` : nothing}`
          : remote_empty(history, t('alerts.history_none'))}`,
    });
  }

  // ---- rules and deliveries ----

  rules_card() {
    const { rules } = this;
    const items = rules.body?.items ?? [];
    // Those that are raised or about to be; the others are many and of interest only to who looks for one.
    const is_loud = (r) => r.enabled !== false && (r.blocking === true || ['firing', 'pending'].includes(r.state));
    const [loud, quiet] = [items.filter(is_loud), items.filter((r) => !is_loud(r))];
    return card('rules', {
      title: t('alerts.rules'),
      summary: items.length ? html`<span class="num">${count(items.length)}</span>` : null,
      body: () => (items.length ? html`
        ${loud.length ? html`<ul class="rows tight">${repeat(loud, (r) => r.rule, (r) => rule_row(this.app, r))}</ul>` : html`<p class="calm" data-tone="good">${chip('rule', 'ok', { quiet: true, text: t('alerts.rules_fine') })}</p>`}
        <details class="more-rules"><summary class="button small">${t('alerts.rules_quiet', { n: quiet.length })}</summary>
          <ul class="rows tight">${repeat(quiet, (r) => r.rule, (r) => rule_row(this.app, r))}</ul></details>`
        : remote_empty(rules, t('alerts.rules_none'))),
    });
  }

  deliveries_card() {
    const { app, deliveries } = this;
    const channels = deliveries.body?.channels ?? [];
    const order = { target: 'alerts', action: 'test', path: 'api/alerts/test' };
    return card('deliveries', {
      title: t('alerts.deliveries'),
      body: () => (channels.length ? html`<ul class="rows tight">${repeat(channels, (c) => c.name, (c) => channel_row(app, c))}</ul>
        <div class="actions">${command_button(app, { order, label: t('alerts.test') })}</div>
        <div class="notes">${command_note(app, { order })}</div><p class="hint">${t('alerts.test_hint')}</p>`
        : remote_empty(deliveries, t('alerts.deliveries_none'))),
    });
  }
}

function history_row(app, p, aimed) {
  const now = app.store.clock.now_ms();
  const lasted = p.cleared_at ? (Date.parse(p.cleared_at) - Date.parse(p.raised_at)) / 1_000 : null;
  return html`<li class="row" data-state=${p.state} ?data-aimed=${p.alert_id === aimed}>
    <div class="row-head"><span class="row-name">${p.message}</span>${chip('alert', p.severity, { quiet: true })}</div>
    <div class="row-sub"><span class="num">${clock(p.raised_at, now)}</span><span>${t(`alerts.state.${p.state}`)}</span>
      ${lasted !== null ? html`<span class="num">${t('alerts.lasted', { span: duration(Math.max(0, lasted)) })}</span>` : nothing}
      ${figure(p) ? html`<span class="num">${figure(p)}</span>` : nothing}
      ${p.occurrence > 1 ? html`<span class="num">${t('alert.occurrence', { n: p.occurrence })}</span>` : nothing}
      ${p.acked_by ? html`<span>${t('alert.acked_by', { who: p.acked_by })}</span>` : nothing}${p.source ? origin(app, p.source) : nothing}</div></li>`;
}

function rule_row(app, r) {
  const state = r.enabled === false ? 'off' : r.state;
  const value = typeof r.value === 'number' ? `${number(r.value)}${r.unit ? ` ${unit(r.unit)}` : ''}` : r.value === null || r.value === undefined ? null : String(r.value);
  return html`<li class="row" data-rule=${r.rule} data-state=${state}>
    <div class="row-head"><span class="row-name">${r.rule}</span>${chip('rule', state, { quiet: true, text: word('rule', String(state).replace(' ', '_')) })}</div>
    <div class="row-sub"><span class="guidance">${r.text}</span><span>${word('alert', r.severity)}</span>${value !== null ? html`<span class="num">${t('alerts.now', { value })}</span>` : nothing}${
      r.blocks?.length ? html`<strong data-tone=${r.blocking ? 'warn' : 'off'}>${t('alerts.blocks')}: ${r.blocks.join(', ')}</strong>` : nothing}${
      r.since ? html`<span class="num">${t('time.since', { time: clock(r.since, app.store.clock.now_ms()) })}</span>` : nothing}</div></li>`;
}

function channel_row(app, c) {
  const now = app.store.clock.now_ms();
  const state = c.last_error && c.waiting > 0 ? 'failed' : c.waiting > 0 ? 'waiting' : c.sent > 0 ? 'sent' : 'idle';
  return html`<li class="row" data-channel=${c.name}>
    <div class="row-head"><span class="row-name">${c.name}</span>${chip('delivery', state, { quiet: true })}</div>
    <div class="row-sub"><span>${c.kind}</span><span class="num">${t('alerts.counts', { sent: count(c.sent), waiting: count(c.waiting), failed: count(c.failed) })}</span>
      ${c.last_sent ? html`<span class="num">${t('alerts.last_sent', { time: clock(c.last_sent, now) })}</span>` : nothing}
      ${c.next_try ? html`<span class="num">${t('alerts.next_try', { time: clock(c.next_try, now) })}</span>` : nothing}
      ${c.last_error ? html`<span class="guidance" data-tone="bad">${c.last_error}</span>` : nothing}</div></li>`;
}
