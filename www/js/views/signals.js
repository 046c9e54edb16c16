// Signals: what is sampled, how it is judged, and the controls of what generates it. `#/signals/ID`.
// Two things stop and are not the same: *pausing* ends the acquisition, at the box, for everyone; *freezing* only keeps this
// browser's chart as it is.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { DASH, count, measure, moment, number, percent, span as span_text } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { recall, remember } from '../core/preferences.js';
import { SignalSamples } from '../core/signal_samples.js';
import { card, empty } from '../parts/card.js';
import '../parts/chart.js';
import { chip } from '../parts/chip.js';
import { command_button, command_note } from '../parts/command_button.js';
import { icon } from '../parts/icon.js';
import { panel_fault } from '../parts/panel_clock.js';
import { remote_empty } from '../parts/remote.js';
import { age_tag, age_text, fact, value } from '../parts/value.js';
import { CONDENSED_GAP_TIMES, line_over_time } from '../state/chart.js';
import { limit_s } from '../state/signals.js';
import { BOUNDS, PADS, WINDOWS, anomalies, back, fault, follow, follows, forward, freeze, in_range, matching, newest_rows, parse, range, recentre, start } from '../state/signal_view.js';

const ROWS = 12;
const MARKERS = 300;
/** A condensed chart that moves on is asked for again this often. */
const AGAIN_MS = 10_000;
const CHOSEN = 'signal';
/** Batches do not follow each other quite evenly: only a longer pause than usual is a gap. */
const GAP_TIMES = 4;

export function open(app, route, signal) {
  const page = new Signals(app, signal, route.parts[0] ?? recall(CHOSEN));
  return { title: () => t('signals.title'), draw: () => page.draw(), move: (next) => page.choose(next.parts[0] ?? page.id), page };
}

class Signals {
  constructor(app, signal, id) {
    Object.assign(this, { app, signal, id });
    this.source = '';
    this.one = null;
  }

  choose(id) {
    this.id = id;
    remember(CHOSEN, id);
    this.app.ticker.now();
  }

  draw() {
    const { signals } = this.app.store.slices;
    if (!signals.size) return html`<div class="overview feeds">${card('signals', { title: t('signals.title'), body: () => empty(this.app, t('signals.none')) })}</div>`;
    const shown = matching(signals, this.source);
    const chosen = shown.find((s) => s.id === this.id) ?? shown[0];
    if (chosen && this.one?.id !== chosen.id) {
      this.one?.close();
      this.one = new OneSignal(this.app, chosen.id, this.signal);
    }
    const sources = [...new Set([...signals.values()].map((e) => e.payload.source).filter(Boolean))].sort();
    return html`<div class="overview feeds">
      <div class="card feeds-filter">
        <label class="field"><span>${t('signals.source')}</span><select data-filter="source" @change=${(e) => { this.source = e.target.value; this.app.ticker.now(); }}>
          <option value="" .selected=${!this.source}>${t('feeds.all')}</option>${['generated', 'outside'].filter((s) => sources.includes(s) || s === this.source || s === 'outside').map((s) => html`<option value=${s} .selected=${s === this.source}>${t(`signals.source.${s}`)}</option>`)}</select></label>
        <nav class="choices" aria-label=${t('signals.choose')}>${repeat(shown, ({ id }) => id, ({ id, entry }) => html`<a class="button small" href=${`#/signals/${encodeURIComponent(id)}`} data-signal=${id} aria-current=${live(id === chosen?.id ? 'true' : 'false')}>
          ${dot(entry.payload.live)}<span>${entry.payload.name ?? id}</span></a>`)}</nav>
        ${shown.length ? nothing : html`<p class="empty" data-empty="filter">${t('feeds.no_match')}</p><button type="button" class="button small" data-filter="clear" @click=${() => { this.source = ''; this.app.ticker.now(); }}>${t('feeds.clear')}</button>`}
      </div>
      ${chosen ? this.one.draw(chosen.entry) : nothing}
    </div>`;
  }
}

/** Between which values the next sample is no anomaly. */
function normal({ stats, threshold }) {
  const { mean, std } = stats ?? {};
  return typeof mean === 'number' && std > 0 ? `${number(mean - std * threshold)} … ${number(mean + std * threshold)}` : DASH;
}

/** Pulses while samples come; the word stands beside it. */
const dot = (on) => html`<span class="beat" ?data-on=${on} aria-hidden="true"></span>`;

class OneSignal {
  constructor(app, id, signal) {
    Object.assign(this, { app, id });
    this.leaving = new AbortController();
    signal.addEventListener('abort', () => this.close());
    app.connection.want([`signal/${id}`], { signal: this.leaving.signal });
    this.view = start();
    this.draft = {};
    this.since = null;
    this.gaps = app.store.gaps.length;
    this.samples = new SignalSamples(app, id, { range: () => range(this.view, this.newest_ms()), signal: this.leaving.signal });
    this.samples.load();
    const again = setInterval(() => document.visibilityState === 'visible' && this.samples.condensed && follows(this.view) && this.samples.load(), AGAIN_MS);
    this.leaving.signal.addEventListener('abort', () => clearInterval(again));
  }

  close() {
    this.leaving.abort();
  }

  newest_ms() {
    const updated = Date.parse(this.app.store.slices.signals.get(this.id)?.payload.updated ?? '');
    return this.samples?.newest.at(-1)?.at ?? (Number.isNaN(updated) ? null : updated);
  }

  /** Looks at another part of time, or keeps what is shown. */
  look(step) {
    const newest = this.newest_ms();
    if (newest === null) return;
    const before = this.view;
    this.view = step(before, newest);
    this.kept = null;
    if (this.view.frozen !== null) {
      this.kept = { samples: this.samples.samples, counts: this.samples.counts(range(this.view, newest)), last: this.samples.newest.at(-1)?.seq ?? 0 };
    } else this.samples.load(this.view.end_ms !== null && this.view.end_ms < newest);
    this.app.ticker.now();
  }

  draw(entry) {
    const p = entry.payload;
    // A reset, here or elsewhere; or the connection left something out.
    if (this.since !== null && p.since_seq !== this.since) {
      this.samples.forget();
      this.view = { ...this.view, frozen: null, end_ms: null };
      this.kept = null;
      this.samples.load();
    }
    this.since = p.since_seq ?? 0;
    if (this.gaps !== this.app.store.gaps.length) {
      this.gaps = this.app.store.gaps.length;
      this.samples.load();
    }
    const fresh = this.app.judge(entry, limit_s(p));
    return html`${this.chart_card(p)}<div class="columns"><div class="column">${this.state_card(p, fresh)}${this.settings_card(p)}</div><div class="column">${this.table_card()}</div></div>`;
  }

  // ---- how it stands ----

  state_card(p, fresh) {
    const generated = p.source === 'generated';
    const last = this.samples.newest.at(-1);
    const may = (action) => p.allowed_actions?.includes(action);
    const target = `signal/${this.id}`;
    const path = (action) => `api/signals/${encodeURIComponent(this.id)}/${action}`;
    const wrong = ['interval_s', 'batch_size'].some((name) => this.fault(name, p));
    const pace = () => ({ interval_s: parse(this.text('interval_s', p)), batch_size: parse(this.text('batch_size', p)) });
    const toggle = { target, action: 'live', path: path('live'), body: () => ({ on: !p.live, ...pace() }) };
    const batch = { target, action: 'batch', path: path('batch'), body: () => ({ batch_size: pace().batch_size }) };
    const apply = { ...toggle, body: () => ({ on: p.live, ...pace() }) };
    const differs = this.differs('interval_s', p) || this.differs('batch_size', p);
    return card('signal-state', {
      title: t('signals.acquisition'),
      summary: html`<span data-updated>${p.updated ? t('signals.updated', { age: age_text(fresh) }) : t('signals.never')}</span>`,
      body: () => html`
        <p class="streaming" data-live=${String(Boolean(p.live))}>${dot(p.live)}<strong>${generated ? word('signals', p.live ? 'live' : 'off') : t('signals.from_outside')}</strong>${p.updated ? age_tag(fresh) : nothing}</p>
        <dl class="facts">
          ${fact(t('signals.events'), html`<span class="num" data-total>${count(p.total_events)}</span>`)}
          ${fact(t('signals.anomalies'), html`<span class="num">${count(p.anomalies)}</span>`)}
          ${fact(t('signals.last'), value(measure(last?.value), { fresh, show_age: false }))}
          ${fact(t('signals.z'), html`<span class="num" data-tone=${last?.anomaly ? 'bad' : nothing}>${number(last?.z, 2)}</span>`)}
          ${fact(t('signals.quality'), html`<span class="num">${percent(last?.quality)}</span>`)}
          ${fact(t('signals.mean'), value(number(p.stats?.mean), { fresh, show_age: false }))}
          ${fact(t('signals.std'), value(number(p.stats?.std), { fresh, show_age: false }))}
          ${fact(t('signals.span'), html`<span class="num">${number(p.stats?.min)} … ${number(p.stats?.max)}</span>`)}
          ${fact(t('signals.normal'), html`<span class="num">${normal(p)}</span>`)}
          ${generated ? fact(t('signals.seed'), html`<span class="num" data-seed>${p.seed}</span>`) : nothing}
        </dl>
        ${may('live') ? html`
          <div class="pace-fields">${this.field('interval_s', p)}${this.field('batch_size', p)}</div>
          <div class="actions">
            ${command_button(this.app, { order: toggle, label: t(p.live ? 'signals.pause' : 'signals.start'), shape: p.live ? 'pause' : 'play', primary: !p.live, pressed: p.live, blocked: wrong ? t('signals.mend') : null })}
            ${command_button(this.app, { order: batch, label: t('signals.batch'), shape: 'plus', blocked: p.live ? t('signals.batch_live') : wrong ? t('signals.mend') : null })}
            ${differs ? command_button(this.app, { order: apply, label: t('signals.apply'), shape: 'check', name: t('signals.acquisition'), blocked: wrong ? t('signals.mend') : null }) : nothing}
          </div>
          ${command_note(this.app, { order: toggle })}${command_note(this.app, { order: batch })}
          <p class="hint">${t('signals.pause_hint')}</p>`
          : generated ? nothing : html`<p class="hint">${t('signals.outside_hint', { id: this.id })}</p>`}`,
    });
  }

  // ---- what is judged by ----

  settings_card(p) {
    const target = `signal/${this.id}`;
    const path = `api/signals/${encodeURIComponent(this.id)}`;
    const wrong = ['window', 'threshold'].some((name) => this.fault(name, p));
    const order = { target, action: 'settings', path: `${path}/settings`, body: () => ({ window: parse(this.text('window', p)), threshold: parse(this.text('threshold', p)) }) };
    const reset = { target, action: 'reset', path: `${path}/reset`, body: { confirm: this.id } };
    const may = p.allowed_actions?.includes('reset');
    return card('signal-settings', {
      title: t('signals.judging'),
      body: () => html`
        <p class="hint hint-top">${t('signals.judging_hint')}</p>
        <div class="pace-fields">${this.field('window', p)}${this.field('threshold', p)}</div>
        <div class="actions">${command_button(this.app, { order, label: t('signals.apply'), shape: 'check', name: t('signals.judging'),
          blocked: wrong ? t('signals.mend') : this.differs('window', p) || this.differs('threshold', p) ? null : t('signals.as_it_is') })}</div>
        ${command_note(this.app, { order })}
        ${may ? html`<div class="actions apart danger-row">${command_button(this.app, { order: reset, label: t('signals.reset'), shape: 'trash-2',
          destructive: { title: t('signals.reset_title', { name: p.name ?? this.id }), loss: t('signals.reset_loss', { n: p.total_events, count: count(p.total_events) }), action: t('signals.reset_do') } })}</div>
          ${command_note(this.app, { order: reset })}` : html`<p class="hint">${t('signals.no_reset')}</p>`}`,
    });
  }

  /** What is typed stays until it is what the daemon says. */
  text(name, p) {
    if (this.draft[name] !== undefined && parse(this.draft[name]) === p[name] && !this.typing(name)) delete this.draft[name];
    return this.draft[name] ?? String(p[name] ?? '');
  }

  typing(name) {
    return document.activeElement?.id === `signal-${name}`;
  }

  differs(name, p) {
    return this.draft[name] !== undefined && parse(this.draft[name]) !== p[name];
  }

  fault(name, p) {
    return fault(name, this.text(name, p));
  }

  field(name, p) {
    const wrong = this.fault(name, p);
    const [least, most] = BOUNDS[name];
    return html`<label class="field" for=${`signal-${name}`}><span>${t(`signals.${name}`)}</span>
      <input id=${`signal-${name}`} type="text" inputmode="decimal" autocomplete="off" aria-invalid=${wrong ? 'true' : 'false'} aria-describedby=${`signal-${name}-hint`} .value=${live(this.text(name, p))}
        @input=${(e) => { this.draft[name] = e.target.value; this.app.ticker.now(); }}>
      <small id=${`signal-${name}-hint`} data-tone=${wrong ? 'bad' : nothing}>${t(wrong === 'whole' ? 'signals.whole' : 'signals.from_to', { least, most })}</small></label>`;
  }

  // ---- the chart ----

  chart_card(p) {
    const newest = this.newest_ms();
    const span = range(this.view, newest);
    const frozen = this.view.frozen !== null;
    const samples = this.kept?.samples ?? this.samples.samples;
    const counts = span ? this.kept?.counts ?? this.samples.counts(span) : null;
    const newer = frozen ? Math.max(0, (this.samples.newest.at(-1)?.seq ?? 0) - this.kept.last) : 0;
    const turn = (name, shape, step, more = {}) => html`<button type="button" class="button small" data-view=${name} aria-pressed=${more.pressed === undefined ? nothing : String(more.pressed)} aria-disabled=${more.off ? 'true' : 'false'}
      @click=${() => !more.off && this.look(step)}>${icon(shape)}<span>${t(more.label ?? `signals.view.${name}`)}</span></button>`;
    const { past } = this.samples;
    return card('signal-chart', {
      title: p.name ?? this.id,
      summary: counts ? html`<span data-in-view=${counts.anomalies}>${t('signals.in_view', { n: counts.anomalies, samples: count(counts.samples) })}</span>` : null,
      body: () => html`
        <div class="chart-bar">
          <label class="field"><span>${t('signals.look_back')}</span><select data-view="window" @change=${(e) => this.look((view) => ({ ...view, window_s: Number(e.target.value), frozen: null }))}>${WINDOWS.map((s) => html`<option value=${s} .selected=${s === this.view.window_s}>${span_text(s)}</option>`)}</select></label>
          <label class="field"><span>${t('signals.room')}</span><select data-view="pad" @change=${(e) => { this.view = { ...this.view, pad: Number(e.target.value) }; this.app.ticker.now(); }}>${PADS.map((s) => html`<option value=${s} .selected=${s === this.view.pad}>${percent(s)}</option>`)}</select></label>
          <div class="choices" role="group" aria-label=${t('signals.moving')}>
            ${turn('back', 'chevron-left', (view, at) => ({ ...back(view, at), frozen: null }))}
            ${turn('forward', 'chevron-right', (view, at) => ({ ...forward(view, at), frozen: null }), { off: follows(this.view) })}
            ${turn('recentre', 'move', (view, at) => ({ ...recentre(view, at), frozen: null }))}
            ${turn('follow', 'trending-up', (view) => ({ ...follow(view), frozen: null }), { pressed: follows(this.view) })}
            ${turn('freeze', frozen ? 'play' : 'pause', freeze, { pressed: frozen, label: frozen ? 'signals.view.unfreeze' : 'signals.view.freeze' })}
          </div>
        </div>
        ${past.status === 'error' && samples.length ? panel_fault(past.reason) : nothing}
        ${frozen ? html`<p class="note" data-tone="busy" role="status">${icon('pause')}<span>${t('signals.frozen', { n: newer, count: count(newer) })}</span></p>` : nothing}
        ${this.chart(p, samples, span, past)}
        ${this.samples.complete === false ? html`<p class="hint">${t('signals.reading')}</p>` : nothing}`,
    });
  }

  chart(p, samples, span, past) {
    if (!span || (!samples.length && past.status !== 'ok')) return past.status === 'ok' ? html`<p class="empty" data-empty="none">${t(p.source === 'generated' ? 'signals.no_samples' : 'signals.no_samples_outside')}</p>` : remote_empty(past, t('signals.no_samples'), () => this.samples.load());
    const shown = in_range(samples, span);
    if (!shown.length) {
      return html`<p class="empty" data-empty="filter">${t('signals.none_in_range')}</p>`;
    }
    const key = `${samples.length}/${samples.at(-1)?.seq}/${this.kept ? 'kept' : this.samples.version}/${span}`;
    if (this.drawn?.key !== key) {
      const line = line_over_time(shown.map((s) => s.at / 1_000), shown.map((s) => s.value), this.samples.condensed ? CONDENSED_GAP_TIMES : GAP_TIMES);
      this.drawn = { key, line, markers: anomalies(shown).slice(-MARKERS).map((s) => ({ x: s.at / 1_000, y: s.value, tone: 'bad' })) };
    }
    return html`<live-chart .view=${{
      label: t('signals.chart', { name: p.name ?? this.id, n: anomalies(shown).length }), ...this.drawn.line, x: { name: t('signals.time'), time: true }, series: [{ name: p.name ?? this.id }],
      x_range: span.map((ms) => ms / 1_000), markers: this.drawn.markers,
    }}></live-chart>
    <p class="chart-note"><span class="ring" aria-hidden="true"></span>${t('signals.ring')}${this.samples.condensed ? ` · ${t('signals.condensed')}` : ''}</p>`;
  }

  // ---- the newest samples ----

  table_card() {
    const rows = newest_rows(this.samples.newest, ROWS);
    const now = this.app.store.clock.now_ms();
    const { latest } = this.samples;
    return card('signal-latest', {
      title: t('signals.latest'),
      body: () => (this.samples.newest.length ? html`<div class="feeds-scroll" tabindex="0" role="group" aria-label=${t('signals.latest')}><table class="feeds-table" aria-live="off">
        <thead><tr><th scope="col">${t('signals.number')}</th><th scope="col">${t('signals.time')}</th><th scope="col" class="right">${t('signals.value')}</th><th scope="col" class="right">${t('signals.z')}</th><th scope="col" class="right">${t('signals.quality')}</th><th scope="col">${t('signals.kind')}</th></tr></thead>
        <tbody>${rows.map((s) => html`<tr ?data-anomaly=${s?.anomaly}><th scope="row" class="num">${s ? count(s.seq) : nothing}</th><td class="num">${s ? moment(s.at, now) : nothing}</td><td class="num right">${measure(s?.value)}</td><td class="num right">${number(s?.z, 2)}</td><td class="num right">${percent(s?.quality)}</td>
          <td>${s?.anomaly ? chip('severity', 'MAJOR', { quiet: true, text: t('signals.anomaly') }) : nothing}</td></tr>`)}</tbody></table></div>`
        : remote_empty(latest, t('signals.no_samples'), () => this.samples.load())),
    });
  }
}
