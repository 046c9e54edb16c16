// One scan: how it stands, what can be asked of it, its points as they come (or whole, once it has ended), its log. An
// ended one can be played again; while that is so nothing on the page is of now, which a banner says, and nothing can be asked.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { address } from '../core/api.js';
import { Asking } from '../core/asking.js';
import { DASH, clock, count, duration, measure, moment, span, unit as unit_text } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { LogBook } from '../core/log_book.js';
import { Replay } from '../core/replay.js';
import { ScanData } from '../core/scan_data.js';
import { ask_button, asked_note } from '../parts/asked.js';
import { blocked_note } from '../parts/blocked.js';
import { card, empty } from '../parts/card.js';
import '../parts/chart.js';
import { chip, look } from '../parts/chip.js';
import { command_button, command_note } from '../parts/command_button.js';
import { confirm } from '../parts/dialog.js';
import { icon } from '../parts/icon.js';
import { lab_commands } from '../parts/lab_commands.js';
import { points } from '../parts/lab_rows.js';
import { lab_tabs } from '../parts/lab_tabs.js';
import { log_card } from '../parts/log_card.js';
import { progress } from '../parts/progress.js';
import { ScanMap } from '../parts/scan_map.js';
import { tree } from '../parts/tree.js';
import { age_tag, fact } from '../parts/value.js';
import { LIMIT_S } from '../state/freshness.js';
import { effect, is_live, newer } from '../state/lab_queue.js';
import { INDEX, T_REL, axes_of, columns_of, xs_of, ys_of } from '../state/rows.js';
import { RATES, share } from '../state/replay.js';

const FILES = ['csv', 'json', 'ndjson'];
/** Rows of the table of newest points. */
const ROWS = 20;

export function open(app, route, signal) {
  const page = new ScanPage(app, route.parts[0] ?? '', signal);
  return { title: () => page.payload()?.name ?? page.id, draw: () => page.draw() };
}

class ScanPage {
  constructor(app, id, signal) {
    Object.assign(this, { app, id, signal });
    this.path = `api/scans/${encodeURIComponent(id)}`;
    this.asking = new Asking(app);
    this.data = new ScanData(app, id, signal);
    this.log = new LogBook(app, {
      path: `${this.path}/log`, signal,
      mine: ({ type, topic, payload }) => type === 'queue_log' && (topic === `scan/${id}` || payload.scan_id === id),
    });
    this.map = new ScanMap(app, this.path, signal);
    this.wish = {};
    this.whole = null;
    this.replay = null;
    this.rate = 10;
    app.connection.want([`scan/${id}`], { signal });
  }

  /** What is known of it: the live state, else what was asked for. */
  payload() {
    const detail = this.data.detail;
    return newer(detail, this.app.store.slices.scans.get(this.id)?.payload);
  }

  draw() {
    const { app, data, id } = this;
    data.take();
    const p = this.payload();
    if (!p) {
      return html`<div class="overview lab">${lab_tabs('scans', app)}${card('scan', { title: id, body: () => (data.status === 'loading' || !app.store.complete ? html`<p class="empty" data-empty="loading">${t('empty.loading')}</p>`
        : data.status === 'error' || data.status === 'denied' ? html`<div class="empty" data-empty="error"><p>${t('empty.error', { reason: data.reason })}</p><button type="button" class="button small" @click=${() => data.load()}>${t('page.retry')}</button></div>`
          : html`<p class="empty" data-empty="unknown">${t('scan.unknown', { id })}</p>`) })}</div>`;
    }
    const said = this.replay?.it.status ?? p;
    return html`<div class="overview lab" ?data-replay=${this.replay !== null}>
      ${lab_tabs('scans', app)}
      ${this.replay ? this.banner() : nothing}
      <div class="columns lab-wide">
        <div class="column">${this.state_card(this.replay ? { ...said, allowed_actions: [], pending: null } : p)}${this.chart_card(p)}${this.table_card()}</div>
        <div class="column">${log_card(app, this.log, { title: t('scan.log'), name: this.id })}${this.more_card(p)}</div>
      </div>
    </div>`;
  }

  // ---- how it stands ----

  state_card(p) {
    const { app, id, replay } = this;
    const entry = app.store.slices.scans.get(id);
    const [tone, shape] = look('scan', p.status);
    const running = is_live(p.status) && p.status !== 'queued';
    const fresh = entry && app.judge(entry, p.status === 'running' ? LIMIT_S.job : undefined);
    const blocked = replay ? t('replay.no_commands') : null;
    const ticking = p.status === 'running' && fresh && !fresh.stale && !replay ? fresh.age_s : 0;
    return card('scan', {
      title: p.name ?? id,
      summary: html`<span>${id}</span>${fresh && is_live(p.status) && !replay ? html` · ${age_tag(fresh)}` : nothing}`,
      body: () => html`
        ${p.prompt && !replay ? this.prompt(p) : nothing}
        <div class="state" data-tone=${tone} data-status=${p.status} ?data-stale=${fresh?.stale && is_live(p.status)}>${icon(shape, 'state-icon')}
          <div><span class="state-word">${word('scan', p.status)}</span>${p.pending && !replay ? html`<strong data-tone="warn" data-pending=${p.pending}>${word('pending', p.pending)}</strong>` : nothing}
          ${p.exit_reason ? html`<span class="state-time">${word('exit', p.exit_reason)}</span>` : nothing}
          <span class="state-more" data-step>${p.current_step ?? p.message ?? nothing}</span></div></div>
        ${p.error ? html`<p class="note" data-tone="bad" data-error>${icon('octagon-alert')}<span>${p.error}</span></p>` : nothing}
        ${replay || !is_live(p.status) ? nothing : blocked_note(app, `scan/${id}`, ...(p.instruments ?? []).map((one) => `instrument/${one}`))}
        ${p.blocked_by ? html`<p class="note" data-tone="warn">${icon('clock')}<span>${t('scan.blocked', { by: p.blocked_by })}</span></p>` : nothing}
        ${progress(p.progress, { label: p.name ?? id, tone: p.status === 'running' ? 'good' : p.status === 'completed' ? 'good' : 'warn' })}
        <dl class="facts below">
          ${fact(t('scan.points'), html`<span class="num" data-points>${points(p)}</span>`)}
          ${fact(t('scan.elapsed'), html`<span class="num">${duration(typeof p.elapsed_s === 'number' ? p.elapsed_s + (running ? ticking : 0) : null)}</span>`)}
          ${fact(t('scan.active'), html`<span class="num">${duration(typeof p.active_s === 'number' ? p.active_s + ticking : null)}</span>`)}
          ${fact(t('lab.eta'), html`<span class="num">${typeof p.eta_s === 'number' && running && !fresh?.stale ? span(p.eta_s) : DASH}</span>${p.eta_basis === 'planned' && running ? html` <span class="muted">${t('scan.eta_planned')}</span>` : nothing}`)}
          ${p.phase && running ? fact(t('scan.phase'), word('phase', p.phase)) : nothing}
          ${p.repeat_index ? fact(t('scan.repeat'), html`<span class="num">${count(p.repeat_index + 1)}</span>`) : nothing}
          ${p.skipped ? fact(t('scan.skipped'), html`<strong data-tone="warn" class="num">${count(p.skipped)}</strong>`) : nothing}
          ${p.late_ms ? fact(t('scan.late'), html`<span class="num">${count(p.late_ms)} ms</span>`) : nothing}
        </dl>
        ${is_live(p.status) || replay ? lab_commands(app, {
          kind: 'scan', id, payload: p, blocked, sure: this.sure(p),
          rows: [p.executor === 'external' || p.status === 'queued' ? ['start', 'pause', 'resume'] : ['pause', 'resume'],
            ['stop', 'abort', ...(p.queue_id && p.status !== 'queued' ? ['abort_on'] : []), ...(p.pending === 'abort' ? ['abort_now'] : [])]],
        }) : nothing}
        ${is_live(p.status) ? nothing : this.after(p, blocked)}`,
    });
  }

  /** The second step of each way to abort: what is lost by it. */
  sure(p) {
    const name = p.name ?? this.id;
    return {
      abort: { title: t('scan.abort_title', { name }), loss: t('scan.abort_loss', { points: points(p) }), action: t('scan.abort_confirm') },
      abort_on: { title: t('scan.abort_title', { name }), loss: t('scan.abort_on_loss', { points: points(p) }), action: t('scan.abort_confirm') },
      abort_now: { title: t('scan.abort_now_title', { name }), loss: t('scan.abort_now_loss'), action: t('scan.abort_now_confirm') },
    };
  }

  /** What an operator has to confirm before it goes on. */
  prompt(p) {
    const { app, id } = this;
    const order = { target: `scan/${id}`, action: 'confirm', path: `${this.path}/resume`, effect: effect('scan', 'resume', p.status) };
    const blocked = (p.allowed_actions ?? []).includes('resume') ? null : t('action.not_now', { state: word('scan', p.status) });
    return html`<div class="prompt" role="alert" data-prompt><p>${icon('circle-alert')}<strong>${t('scan.prompt')}</strong></p><p class="prompt-text">${p.prompt}</p>
      <div class="actions">${command_button(app, { order, label: t('action.confirm'), shape: 'check', primary: true, blocked, name: p.name ?? id })}</div>${command_note(app, { order })}</div>`;
  }

  /** What can be done with one that has ended. */
  after(p, blocked) {
    const { app, asking, id } = this;
    const requeue = () => asking.send('requeue', 'POST', `${this.path}/requeue`, {}, { words: (scan) => t('scan.requeued', { id: scan.scan_id }) });
    const remove = async () => {
      if (!(await confirm({ title: t('scan.remove_title', { name: p.name ?? id }), loss: t('scan.remove_loss', { points: points(p) }), action: t('scan.remove') }))) return;
      if (await asking.send('remove', 'DELETE', this.path)) location.hash = p.queue_id ? `#/queue/${encodeURIComponent(p.queue_id)}` : '#/scans';
    };
    return html`<div class="actions">
        ${ask_button(app, asking, { name: 'requeue', label: t('scan.requeue'), doing: t('scan.requeueing'), shape: 'rotate-cw', primary: true, blocked: blocked ?? (p.queue_id ? null : t('scan.no_queue')), tap: requeue })}
        <button type="button" class="button" data-replay="play" aria-disabled=${this.replay ? 'true' : 'false'} @click=${() => !this.replay && this.play()}>${icon('play')}<span>${t('replay.start')}</span></button>
      </div>
      <div class="actions apart">${ask_button(app, asking, { name: 'remove', label: t('scan.remove'), shape: 'trash-2', danger: true, blocked, tap: remove })}</div>
      ${asked_note(asking, 'requeue')}${asked_note(asking, 'remove')}`;
  }

  // ---- playback ----

  play() {
    this.replay = new Replay(this.app, { id: this.id, measurement: this.data.measurement, signal: this.signal, rate: this.rate });
    this.app.ticker.now();
  }

  banner() {
    const { replay } = this;
    const { it } = replay;
    const close = () => { replay.stop(); this.replay = null; this.app.ticker.now(); };
    return html`<section class="replay" data-stage=${it.stage} aria-label=${t('replay.title')}>
      <p class="replay-words" role="status">${icon('rotate-ccw')}<strong>${t('replay.title')}</strong> <span>${t('replay.not_live')} · ${t(`replay.${it.stage}`)}${it.started ? html` · ${moment(it.started)}` : nothing}${it.reason ? html` · ${it.reason}` : nothing}</span></p>
      ${progress(share({ total: it.total ?? this.payload()?.points_done ?? null, last: it.last }), { label: t('replay.title') })}
      <div class="replay-acts">
        ${it.stage === 'playing' || it.stage === 'opening' ? html`<button type="button" class="button" data-replay="pause" @click=${() => replay.pause()}>${icon('pause')}<span>${t('replay.pause')}</span></button>`
          : html`<button type="button" class="button" data-replay="go" aria-disabled=${it.stage === 'finished' ? 'true' : 'false'} @click=${() => it.stage !== 'finished' && replay.play()}>${icon('play')}<span>${t('replay.go')}</span></button>`}
        <label class="rate"><span>${t('replay.rate')}</span><select data-replay="rate" @change=${(e) => { this.rate = Number(e.target.value); replay.at(this.rate); }}>${RATES.map((r) => html`<option value=${r} .selected=${r === it.rate}>${`${r}×`}</option>`)}</select></label>
        <button type="button" class="button" data-replay="stop" @click=${close}>${icon('square')}<span>${t('replay.stop')}</span></button>
      </div>
    </section>`;
  }

  // ---- its points ----

  chart_card(p) {
    const { data, replay } = this;
    const rows = replay ? replay.it.rows : data.rows;
    const columns = columns_of(data.declared(), rows.names);
    if (this.map.on(columns)) {
      const { measurement, stored, detail } = data;
      return this.map.card({ columns, rows, measurement, stored: stored && !replay, last: detail?.last_index?.[measurement], label: p.name ?? this.id, none: (loading) => this.none_yet(p, loading), below: this.files() });
    }
    const { x, ys } = axes_of(columns, this.wish);
    const ended = !is_live(p.status);
    const whole = !replay && data.stored && (ended || this.whole === true);
    const shown = whole ? data.ask_whole(x, ys, !ended) : null;
    // What can't be had whole is shown as far as it is here.
    const drawn = shown && !shown.fault ? shown : rows.chart(x, ys);
    const column = (name) => columns.find((c) => c.name === name);
    const axis = { name: x === T_REL ? t('scan.t_rel') : x === INDEX ? t('scan.index') : x, unit: x === T_REL ? 's' : unitless(column(x)?.unit) };
    const view = {
      label: p.name ?? this.id, points: drawn.points, step: drawn.step, back: drawn.back, x: axis, table: 0,
      series: ys.map((name) => ({ name, unit: unitless(column(name)?.unit), style: this.wish.style })),
      none: this.none_yet(p, whole && !shown),
    };
    return card('chart', {
      title: t('scan.chart'),
      summary: html`<span class="num" data-drawn=${drawn.points.length}>${shown && !shown.fault ? t('scan.whole_of', { n: shown.total ?? drawn.points.length, count: count(shown.total ?? drawn.points.length) })
        : t('scan.newest', { n: drawn.points.length, count: count(drawn.points.length) })}</span>`,
      body: () => html`${this.map.choice(columns)}${this.axis_choice(columns, { x, ys }, { ended, replay, whole })}
        <live-chart .view=${view}></live-chart>
        ${shown?.fault ? html`<p class="note" data-tone="warn">${t('empty.error', { reason: shown.fault })}</p>` : nothing}
        ${data.failures && rows.latest.length ? html`<p class="note" data-tone="warn" role="status"><span>${t('scan.not_filled')}</span><button type="button" class="button small" @click=${() => data.fill({ at_once: true })}>${t('page.retry')}</button></p>` : nothing}
        ${this.files()}`,
    });
  }

  none_yet(p, loading) {
    const { data } = this;
    const fault = this.replay ? null : data.detail || !['error', 'denied'].includes(data.status) ? data.fault : data.reason;
    const kind = fault !== null ? 'error' : loading || data.filling || data.status === 'loading' ? 'loading' : 'none';
    const key = `${kind}/${p.status}/${fault}`;
    if (this.none_key !== key) {
      this.none_key = key;
      this.none = kind === 'error' ? html`<div class="empty" data-empty="error"><p>${t('empty.error', { reason: fault })}</p>
        <button type="button" class="button small" @click=${() => (data.detail ? data.fill({ at_once: true }) : data.load())}>${t('page.retry')}</button></div>`
        : html`<p class="empty" data-empty=${kind}>${kind === 'loading' ? t('empty.loading') : t('scan.no_points')}</p>`;
    }
    return this.none;
  }

  axis_choice(columns, { x, ys }, { ended, replay, whole }) {
    const names = this.data.names();
    const choose = (changes) => { this.wish = { x, ys, ...this.wish, ...changes }; this.app.ticker.now(); };
    const words = (name) => (name === T_REL ? t('scan.t_rel') : name === INDEX ? t('scan.index') : name);
    return html`<div class="axis-choice">
      ${names.length > 1 && !replay ? html`<label class="field"><span>${t('scan.measurement')}</span><select data-choice="measurement" @change=${(e) => { this.wish = {}; this.data.choose(e.target.value); }}>${names.map((name) => html`<option value=${name} .selected=${name === this.data.measurement}>${name}</option>`)}</select></label>` : nothing}
      <label class="field"><span>${t('scan.x')}</span><select data-choice="x" @change=${(e) => choose({ x: e.target.value })}>${xs_of(columns).map((name) => html`<option value=${name} .selected=${name === x}>${words(name)}</option>`)}</select></label>
      <details class="menu" data-choice="y"><summary class="button">${t('scan.y', { n: ys.length })}</summary><div class="menu-items" role="group" aria-label=${t('scan.y', { n: ys.length })}>${ys_of(columns).map((name) => html`<label class="option"><input type="checkbox" value=${name} .checked=${live(ys.includes(name))}
        @change=${(e) => choose({ ys: e.target.checked ? [...ys, name] : ys.filter((n) => n !== name) })}><span>${name}</span></label>`)}
        <label class="option"><input type="checkbox" data-choice="points" .checked=${live(this.wish.style === 'points')} @change=${(e) => choose({ style: e.target.checked ? 'points' : 'line' })}><span>${t('scan.as_points')}</span></label></div></details>
      ${ended || replay || !this.data.stored ? nothing : html`<button type="button" class="button" data-choice="whole" aria-pressed=${whole ? 'true' : 'false'} @click=${() => { this.whole = !whole; this.app.ticker.now(); }}>${t('scan.whole')}</button>`}
    </div>`;
  }

  files() {
    const { measurement, stored, detail } = this.data;
    if (!stored || !detail) return nothing;
    return html`<div class="actions">${FILES.map((kind) => html`<a class="button" data-file=${kind} href=${address(`${this.path}/data.${kind}`, { measurement })} download=${`${this.id}.${kind}`}>${icon('download')}<span>${kind.toUpperCase()}</span></a>`)}</div>`;
  }

  table_card() {
    const { data, replay } = this;
    const rows = replay ? replay.it.rows : data.rows;
    const newest = rows.latest.slice(-ROWS).reverse();
    const names = [...new Set([...data.declared().map((c) => c.name), ...newest.flatMap((r) => Object.keys(r.data))])];
    const unit = (name) => unitless(data.declared().find((c) => c.name === name)?.unit);
    return card('points', {
      title: t('scan.table'),
      body: () => (newest.length ? html`<div class="chart-scroll" tabindex="0" role="group" aria-label=${t('scan.table')}><table class="chart-rows"><thead><tr><th scope="col">${t('scan.index')}</th><th scope="col">${t('scan.t_rel')} (s)</th>${names.map((name) => html`<th scope="col">${name}${unit(name) ? ` (${unit_text(unit(name))})` : ''}</th>`)}</tr></thead>
        <tbody>${newest.map((row) => html`<tr data-index=${row.index}><th scope="row" class="num">${row.index}</th><td class="num">${typeof row.t_rel === 'number' ? measure(row.t_rel) : DASH}</td>${names.map((name) => html`<td class="num">${cell(row, name)}</td>`)}</tr>`)}</tbody></table></div>`
        : this.none_yet(this.payload(), false)),
    });
  }

  // ---- what else ----

  more_card(p) {
    const { detail } = this.data;
    const now = this.app.store.clock.now_ms();
    return html`<details class="card fold" id="card-scan-more"><summary><h2>${t('scan.more')}</h2></summary><div class="card-body">
      <dl class="facts wide">
        ${p.queue_id ? fact(t('scan_list.queue'), html`<a class="link" href=${`#/queue/${encodeURIComponent(p.queue_id)}`}>${p.queue_id}</a>`) : nothing}
        ${p.executor ? fact(t('scan.executor'), word('executor', p.executor)) : nothing}
        ${p.retry_of ? fact(t('scan.retry_of'), html`<a class="link" href=${`#/scan/${encodeURIComponent(p.retry_of)}`}>${p.retry_of}</a>`) : nothing}
        ${p.caused_by ? fact(t('scan.caused_by'), p.caused_by) : nothing}
        ${['created_at', 'started_at', 'ended_at'].map((key) => (p[key] ? fact(t(`scan.${key}`), html`<span class="num">${clock(p[key], now)}</span>`) : nothing))}
        ${p.lease_s ? fact(t('scan.lease'), html`<span class="num">${duration(p.lease_s)}</span>`) : nothing}
      </dl>
      ${detail?.description ? html`<h3 class="card-sub">${t('scan.description')}</h3>${tree(detail.description)}` : html`<p class="empty">${t('scan.no_description')}</p>`}
      ${this.data.declared().length ? html`<h3 class="card-sub">${t('scan.columns')}</h3><ul class="rows tight">${this.data.declared().map((c) => html`<li class="row"><div class="row-head"><span class="row-name">${c.name}</span><span class="muted">${word('role', c.role ?? 'measured')}${c.unit ? ` · ${unit_text(c.unit)}` : ''}</span></div></li>`)}</ul>` : nothing}
    </div></details>`;
  }
}

/** UCUM's unit of what has none. */
const unitless = (unit) => (unit === '1' ? undefined : unit ?? undefined);

/** A value of the table, with what is not good about it. */
function cell(row, name) {
  const value = row.data[name];
  const text = typeof value === 'number' ? measure(value) : Array.isArray(value) ? t('scan.array', { n: value.length }) : value === null || value === undefined ? DASH : String(value);
  const quality = row.quality?.[name];
  return quality ? html`${text} <span data-tone="warn" class="num">${quality.replaceAll('_', ' ')}</span>` : text;
}
