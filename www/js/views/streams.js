// Value streams: a panel for each, each with a clock of its own, and its history. `#/streams/ID` opens with that history.

import { html, nothing, svg } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { read } from '../core/api.js';
import { DASH, change, clock, count, measure, moment, span, unit as unit_text } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { PanelClock } from '../core/panel_clock.js';
import { Remote } from '../core/remote.js';
import { card, empty } from '../parts/card.js';
import '../parts/chart.js';
import { chip } from '../parts/chip.js';
import { icon } from '../parts/icon.js';
import { panel_clock, panel_fault } from '../parts/panel_clock.js';
import { remote_empty } from '../parts/remote.js';
import { sparkline } from '../parts/sparkline.js';
import { age_tag, fact, value } from '../parts/value.js';
import { CONDENSED_GAP_TIMES, line_over_time } from '../state/chart.js';
import { LIMIT_S } from '../state/freshness.js';
import { PACES, limit_of } from '../state/panel_clock.js';
import { bands, history_columns, limit_bar, limit_lines, matching, reading, with_reading } from '../state/stream_panel.js';

/** Ranges of the history, s. */
const RANGES = [600, 3_600, 6 * 3_600, 86_400];
const POINTS = 600;

export function open(app, route, signal) {
  const page = new Streams(app, signal);
  if (route.parts[0]) page.aim(route.parts[0]);
  return { title: () => t('streams.title'), draw: () => page.draw(), move: (next) => next.parts[0] && page.aim(next.parts[0]), page };
}

class Streams {
  constructor(app, signal) {
    Object.assign(this, { app, signal });
    this.panels = new Map();
    this.filter = { text: '', state: '' };
  }

  panel(id) {
    if (!this.panels.has(id)) this.panels.set(id, new Panel(this.app, id, this.signal));
    return this.panels.get(id);
  }

  aim(id) {
    this.panel(id).show_history(true);
    const look = (left) => {
      const place = document.getElementById(`card-stream-${id}`);
      if (place) place.scrollIntoView({ block: 'start' });
      else if (left && !this.signal.aborted) setTimeout(look, 100, left - 1);
    };
    requestAnimationFrame(() => look(50));
  }

  draw() {
    const { streams } = this.app.store.slices;
    const shown = matching(streams, this.filter);
    const set = (name) => (event) => {
      this.filter = { ...this.filter, [name]: event.target.value };
      this.app.ticker.now();
    };
    return html`<div class="overview feeds">
      ${streams.size ? html`<search class="card feeds-filter" role="search" aria-label=${t('feeds.filter')}>
        <label class="field"><span>${t('streams.find')}</span><input type="search" data-filter="text" maxlength="100" autocomplete="off" spellcheck="false" .value=${live(this.filter.text)} @input=${set('text')}></label>
        <label class="field"><span>${t('streams.state')}</span><select data-filter="state" @change=${set('state')}>${['', 'trouble'].map((v) => html`<option value=${v} .selected=${v === this.filter.state}>${t(v ? 'streams.trouble' : 'feeds.all')}</option>`)}</select></label>
        <p class="feeds-count" role="status">${t('streams.shown', { n: shown.length, all: count(streams.size) })}</p>
      </search>` : nothing}
      ${streams.size === 0 ? card('streams', { title: t('streams.title'), body: () => empty(this.app, t('streams.none')) })
        : shown.length === 0 ? card('streams', { title: t('streams.title'), body: () => html`<p class="empty" data-empty="filter">${t('feeds.no_match')}</p>
          <button type="button" class="button small" data-filter="clear" @click=${() => { this.filter = { text: '', state: '' }; this.app.ticker.now(); }}>${t('feeds.clear')}</button>` })
          : html`<div class="panels">${repeat(shown, (id) => id, (id) => this.panel(id).draw(streams.get(id)))}</div>`}
    </div>`;
  }
}

class Panel {
  constructor(app, id, signal) {
    Object.assign(this, { app, id, signal });
    this.fault = null;
    this.entry = null;
    this.points = [];
    this.leaving = null;
    this.clock = new PanelClock({ name: `stream.${id}`, offered: PACES, preset: 'push', tick: () => this.load(), changed: () => this.follow(), signal });
    this.open = false;
    this.range_s = RANGES[0];
    this.history = new Remote(app, `api/streams/${encodeURIComponent(id)}/history`, { query: () => this.window(), signal });
    this.history_kept = null;
    this.history_clock = null;
    signal.addEventListener('abort', () => this.leaving?.abort());
    this.follow();
    if (this.clock.pace !== 'push') this.clock.ask();
  }

  /** Only a panel that is told at once has the daemon send its values. */
  follow() {
    this.fault = null;
    this.leaving?.abort();
    this.leaving = null;
    if (this.clock.pace === 'push' && !this.signal.aborted) {
      this.leaving = new AbortController();
      this.app.connection.want([`stream/${this.id}`], { signal: this.leaving.signal });
    } else {
      const known = this.app.store.slices.streams.get(this.id);
      this.entry = known?.value ?? this.entry;
      if (this.entry) this.points = with_reading(this.points, this.entry);
    }
    this.app.ticker.now();
  }

  async load() {
    try {
      const { body } = await read('api/state', { query: { topics: `stream/${this.id}` }, signal: this.signal });
      if (this.signal.aborted) return;
      this.fault = null;
      const envelope = body.state.find((e) => e.type === 'stream_value');
      if (envelope) {
        this.entry = this.app.store.entry(envelope);
        this.points = with_reading(this.points, this.entry);
      }
    } catch (error) {
      if (this.signal.aborted) return;
      this.fault = error.status ? error.message : t(`feeds.fault.${error.code}`);
    }
    this.app.ticker.now();
  }

  draw({ value: pushed, feed, history }) {
    const push = this.clock.pace === 'push';
    const entry = push ? pushed : this.entry;
    const p = entry?.payload;
    const name = feed?.payload.name ?? this.id;
    const state = feed?.payload.status;
    const fresh = entry && this.app.judge(entry, limit_of(this.clock.pace, LIMIT_S.stream));
    const now = reading(entry);
    const severe = p?.severity && p.severity !== 'NO_ALARM' && now.kind === 'value';
    return card(`stream-${this.id}`, {
      title: html`<span data-stream=${this.id}>${name}</span>`,
      summary: html`<span class="chips">${severe ? chip('severity', p.severity, { quiet: true }) : nothing}${
        p?.quality && p.quality !== 'good' ? chip('quality', p.quality, { quiet: true, text: p.quality_reason ? word('reason', p.quality_reason) : undefined }) : nothing}${
        state ? chip('stream', state, { quiet: true }) : nothing}</span>`,
      body: () => html`
        <div class="panel stream" data-state=${state ?? 'unknown'} data-severity=${p?.severity ?? 'NO_ALARM'}>
          <div class="stream-body">
            <div class="stream-value" aria-live="off">${this.figure(now, p, fresh)}</div>
            ${sparkline(push ? history : this.points, name)}
          </div>
          ${p ? limits(bands(p.limits), now.value, p.unit) : nothing}
          ${state && state !== 'live' && feed.payload.reason ? html`<p class="panel-reason">${feed.payload.reason}</p>` : nothing}
          ${panel_fault(this.fault)}
          <dl class="facts dense">
            ${fact(t('streams.dropped'), html`<span class="num" data-tone=${feed?.payload.dropped ? 'warn' : nothing}>${count(feed?.payload.dropped)}</span>`)}
            ${fact(t('streams.reconnects'), html`<span class="num">${count(feed?.payload.reconnects)}</span>`)}
            ${feed?.payload.ticks === undefined ? nothing : fact(t('streams.ticks'), html`<span class="num">${count(feed.payload.ticks)}</span>`)}
            ${feed?.payload.conflated === undefined ? nothing : fact(t('streams.conflated'), html`<span class="num">${count(feed.payload.conflated)}</span>`)}
            ${fact(t('streams.seen'), html`<span class="num">${clock(p?.timestamp ?? feed?.payload.last_seen, this.app.store.clock.now_ms())}</span>`)}
          </dl>
          <div class="panel-foot">${panel_clock(this.clock, name)}
            <button type="button" class="button small" data-history aria-expanded=${String(this.open)} aria-label=${`${t('streams.history')}: ${name}`} @click=${() => this.show_history(!this.open)}>${icon('trending-up')}<span>${t('streams.history')}</span></button></div>
          ${this.open ? this.past(name, p) : nothing}
        </div>`,
    });
  }

  /** The value in words and figures; what is not the present one says so. */
  figure(now, p, fresh) {
    if (now.kind === 'waiting') return html`<span class="big num">${DASH}</span><p class="panel-says" data-says="waiting">${t('streams.waiting')}</p>`;
    const big = html`<span class="big">${value(measure(now.value), { unit: p.unit, fresh: now.kind === 'value' ? fresh : { ...fresh, stale: true }, show_age: false })}</span>`;
    const label = now.kind === 'none' ? 'streams.expired' : now.kind === 'last' || fresh.stale ? 'streams.last_good' : null;
    return html`${now.kind === 'none' ? html`<span class="big" data-says="none">${t('streams.no_data')}</span>` : big}
      ${label ? html`<p class="panel-says" data-says=${now.kind}>${t(label)}${now.kind === 'none' ? html` <span class="num">${measure(now.value)}</span>` : nothing}</p>` : nothing}
      <span class="row-sub">${now.kind === 'none' ? nothing : html`<span class="num">${change(p.change, p.value)}</span>`}${age_tag(now.kind === 'value' ? fresh : { ...fresh, stale: true, why: fresh.why ?? 'daemon' })}</span>`;
  }

  // ---- the history ----

  show_history(open) {
    this.open = open;
    if (open && !this.history_clock) {
      this.history_clock = new PanelClock({ name: `history.${this.id}`, offered: ['manual', 5, 10, 30, 60], preset: 10, tick: () => this.load_history(), signal: this.signal });
    }
    if (open) this.history_clock.ask();
    this.app.ticker.now();
  }

  window() {
    const to = this.app.store.clock.now_ms() ?? Date.now();
    this.span = [to - this.range_s * 1_000, to];
    return { from: new Date(this.span[0]).toISOString(), to: new Date(to).toISOString(), points: POINTS };
  }

  async load_history() {
    if (!this.open) return;
    const span_of = this.range_s;
    const body = await this.history.load();
    if (!body || span_of !== this.range_s) return;
    this.history_kept = { body, span: this.span, line: line_over_time(...history_columns(body.items), CONDENSED_GAP_TIMES), lines: null };
    this.app.ticker.now();
  }

  past(name, p) {
    const choose = (seconds) => () => {
      this.range_s = seconds;
      this.history_kept = null;
      this.history.status = 'loading';
      // What was asked for before is overtaken.
      this.load_history();
      this.app.ticker.now();
    };
    const kept = this.history_kept;
    const { status, reason } = this.history;
    return html`<div class="panel-past">
      <div class="choices" role="group" aria-label=${t('streams.range')}>${RANGES.map((seconds) => html`<button type="button" class="button small" data-range=${seconds} aria-pressed=${String(seconds === this.range_s)} @click=${choose(seconds)}>${span(seconds)}</button>`)}</div>
      ${kept && status === 'error' ? panel_fault(reason) : nothing}
      ${kept?.body.items.length ? html`<live-chart .view=${{
        label: t('streams.chart', { name, range: span(this.range_s) }), ...kept.line, x: { name: t('streams.time'), time: true },
        series: [{ name, unit: p?.unit }], x_range: kept.span.map((ms) => ms / 1_000), lines: (kept.lines ??= limit_lines(bands(p?.limits), (level) => t(`streams.level.${level}`))),
      }}></live-chart>
        <p class="hint">${t('streams.kept', { ticks: count(kept.body.ticks), from: moment(kept.body.oldest) })}</p>`
        : kept ? html`<p class="empty" data-empty="filter">${t(kept.body.ticks ? 'streams.none_in_range' : 'streams.no_history')}</p>` : remote_empty(this.history, t('streams.no_history'), () => this.load_history())}
      ${panel_clock(this.history_clock, `${t('streams.history')} ${name}`)}
    </div>`;
  }
}

/** The limits as a bar with the value in it. */
function limits(all, value_now, unit) {
  if (all === null) return nothing;
  const { zones, at } = limit_bar(all, value_now);
  const said = Object.entries(all).filter(([, v]) => v !== null).map(([name, v]) => `${t(`streams.level.${name}`)} ${measure(v)}${unit ? ` ${unit_text(unit)}` : ''}`);
  return html`<figure class="limits">
    <svg viewBox="0 0 100 12" preserveAspectRatio="none" role="img" aria-label=${`${t('streams.limits')}: ${said.join(', ')}`}>${
      zones.map(({ from, to, tone }) => svg`<rect data-tone=${tone} x=${(100 * from).toFixed(2)} y="2" width=${(100 * (to - from)).toFixed(2)} height="8"></rect>`)}${
      at === null ? nothing : svg`<line class="limits-at" x1=${(100 * at).toFixed(2)} x2=${(100 * at).toFixed(2)} y1="0" y2="12" vector-effect="non-scaling-stroke"></line>`}</svg>
    <figcaption>${said.join(' · ')}</figcaption></figure>`;
}
