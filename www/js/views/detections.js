// Detections: what vision processes saw, narrowed and summed up, the box of each on a sketch, and how it differs from what
// should stand there. What is filtered stands in the address.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { address } from '../core/api.js';
import { DASH, count, moment, percent, span } from '../core/format.js';
import { t } from '../core/i18n.js';
import { PanelClock } from '../core/panel_clock.js';
import { recall, remember } from '../core/preferences.js';
import { Remote } from '../core/remote.js';
import { rewrite } from '../core/router.js';
import { card } from '../parts/card.js';
import { chip } from '../parts/chip.js';
import { from_local, to_local } from '../parts/filters.js';
import { histogram } from '../parts/histogram.js';
import { icon } from '../parts/icon.js';
import { panel_clock, panel_fault } from '../parts/panel_clock.js';
import { PlanogramEditor } from '../parts/planogram_editor.js';
import { remote_empty } from '../parts/remote.js';
import { shelf_sketch } from '../parts/shelf_sketch.js';
import { fact } from '../parts/value.js';
import { NO_FILTER, PAGE, SPANS, failing, filter_query, filter_text, link, look_of, narrows, ordered, parse_filter } from '../state/detection_list.js';

/** With push: asked again at most this often while things are seen. */
const PUSH_MS = 1_000;
/** And after a question that failed. */
const FAILED_MS = 5_000;
const TYPING_MS = 350;
const MEMORY = 'detections';
const DIFFERENCES = 60;
const PACES = ['push', 5, 10, 30, 60, 'manual'];
const without_threshold = (filter) => filter_text({ ...filter, min_confidence: 0 });

export function open(app, route, signal) {
  const page = new Detections(app, route, signal);
  return { title: () => t('detections.title'), draw: () => page.draw(), move: (next) => page.move(next), page };
}

class Detections {
  constructor(app, route, signal) {
    Object.assign(this, { app, signal });
    this.filter = [...route.query].length ? parse_filter(route.query) : parse_filter(new URLSearchParams(recall(MEMORY) ?? ''));
    this.least = this.filter.min_confidence;
    this.cursors = [];
    this.selected = null;
    this.updated = null;
    /** Something was seen, or may have been missed, since it was asked for; when that was; what the spread was asked with. */
    this.news = false;
    this.asked_at = -Infinity;
    this.gap = app.store.gaps.at(-1);
    this.turns = 0;
    this.spread_of = null;
    const now = () => app.store.clock.now_ms() ?? Date.now();
    this.list = new Remote(app, 'api/detections', { query: () => ({ ...filter_query(this.filter, now()), limit: PAGE, cursor: this.cursors.at(-1) }), signal });
    this.sums = new Remote(app, 'api/summary', { query: () => filter_query(this.filter, now()), signal });
    this.spread = new Remote(app, 'api/summary', { query: () => filter_query(this.filter, now(), { threshold: false }), signal });
    this.names = new Remote(app, 'api/summary', { signal });
    this.kept = { list: null, sums: null, spread: null };
    this.plan = new Remote(app, 'api/planograms', { signal });
    this.editor = new PlanogramEditor(app, this.plan, { saved: () => this.clock.ask() });
    this.clock = new PanelClock({ name: 'detections', offered: PACES, preset: 'push', tick: () => this.load(), changed: () => this.follow(), signal });
    app.store.listen((envelope) => {
      if (this.clock.pace === 'push' && (envelope.type === 'detection' || envelope.type === 'detection_summary')) this.news = true;
    }, signal);
    signal.addEventListener('abort', () => {
      clearTimeout(this.typing);
      this.leaving?.abort();
    });
    this.write();
    this.follow();
    this.load();
    this.names.load();
    this.plan.load();
  }

  follow() {
    this.leaving?.abort();
    this.leaving = null;
    if (this.clock.pace === 'push' && !this.signal.aborted) {
      this.leaving = new AbortController();
      this.app.connection.want(['detections'], { signal: this.leaving.signal });
    }
    this.app.ticker.now();
  }

  /** With push: asked for once, however much came. A hidden page and an earlier one stay as they are until they are looked at. */
  catch_up() {
    const gap = this.app.store.gaps.at(-1);
    if (gap !== this.gap) {
      this.gap = gap;
      this.news = true;
    }
    if (!this.news || this.clock.pace !== 'push' || this.clock.asking || this.cursors.length || performance.now() - this.asked_at < PUSH_MS) return;
    this.clock.ask();
  }

  async load() {
    const turn = (this.turns += 1);
    this.news = false;
    this.asked_at = performance.now();
    const names = this.filter.min_confidence ? ['list', 'sums', 'spread'] : ['list', 'spread'];
    const spread_of = without_threshold(this.filter);
    const answers = await Promise.all(names.map((name) => this[name].load()));
    if (this.signal.aborted || turn !== this.turns) return;
    names.forEach((name, i) => { this.kept[name] = answers[i] ?? this.kept[name]; });
    if (answers.at(-1)) this.spread_of = spread_of;
    if (names.length === 2) this.kept.sums = this.kept.spread;
    if (names.some((name) => this[name].status === 'error')) {
      this.news = true;
      this.asked_at = performance.now() + FAILED_MS - PUSH_MS;
    }
    if (answers.every(Boolean)) this.updated = { at: this.app.store.clock.now_ms() ?? Date.now(), mono: performance.now() };
    this.app.ticker.now();
  }

  // ---- the filter ----

  write() {
    rewrite(`#/detections${filter_text(this.filter)}`);
    remember(MEMORY, filter_text(this.filter).slice(1));
  }

  move(route) {
    const filter = parse_filter(route.query);
    if (filter_text(filter) !== filter_text(this.filter)) this.refilter(filter);
  }

  refilter(filter) {
    this.filter = filter;
    this.least = filter.min_confidence;
    this.cursors = [];
    this.write();
    // What is shown for another filter is not the answer to this one. The threshold is chosen by what is below it as well.
    this.kept = { list: null, sums: null, spread: this.spread_of === without_threshold(filter) ? this.kept.spread : null };
    for (const remote of [this.list, this.sums, this.spread]) Object.assign(remote, { body: null, status: 'loading', reason: null });
    this.load();
    this.app.ticker.now();
  }

  set(changes, typed = false) {
    this.filter = { ...this.filter, ...changes };
    clearTimeout(this.typing);
    if (typed) this.typing = setTimeout(() => this.refilter(this.filter), TYPING_MS);
    else this.refilter(this.filter);
  }

  turn(cursors) {
    this.cursors = cursors;
    this.load();
  }

  // ---- drawing ----

  draw() {
    this.catch_up();
    return html`<div class="overview feeds detections">
      ${this.troubles()}
      ${this.filters_card()}
      <div class="columns"><div class="column">${this.summary_card()}${this.differences_card()}</div><div class="column wide">${this.list_card()}</div></div>
      ${card('planogram', { title: t('planogram.title'), body: () => this.editor.draw() })}
    </div>`;
  }

  /** A look that failed is said, and nothing is put in its place. */
  troubles() {
    const all = failing(this.app.store.slices.sources);
    return all.map(({ id, entry }) => html`<p class="note" data-tone="bad" data-failed=${id} role="status">${icon('octagon-alert')}<span>${t('detections.failed', { id, reason: entry.payload.last_error ?? '', n: entry.payload.errors })}</span>
      <a class="button small" href=${`#/system/sources/${encodeURIComponent(id)}`}>${t('detections.source')}</a></p>`);
  }

  filters_card() {
    const names = this.names.body ?? {};
    const f = this.filter;
    const word = (name, list) => html`<label class="field"><span>${t(`detections.${name}`)}</span><input type="text" data-filter=${name} list=${`names-${name}`} maxlength="64" autocomplete="off" spellcheck="false" .value=${live(f[name])} @input=${(e) => this.set({ [name]: e.target.value.trim() }, true)}>
      <datalist id=${`names-${name}`}>${(list ?? []).map(([value]) => html`<option value=${value}></option>`)}</datalist></label>`;
    return html`<search class="card feeds-filter" role="search" aria-label=${t('feeds.filter')}>
      ${word('sku', names.skus)}${word('label', names.labels)}${word('location', names.locations)}
      <label class="field"><span>${t('detections.when')}</span><select data-filter="since" @change=${(e) => this.set({ since: e.target.value === '' ? '' : Number(e.target.value) || '', ...(e.target.value === 'between' ? { from: new Date((this.app.store.clock.now_ms() ?? Date.now()) - 3_600_000).toISOString() } : { from: '', to: '' }) })}>
        <option value="" .selected=${!f.since && !f.from && !f.to}>${t('detections.any_time')}</option>${SPANS.map((s) => html`<option value=${s} .selected=${s === f.since}>${t('detections.last', { span: span(s) })}</option>`)}
        <option value="between" .selected=${Boolean(f.from || f.to)}>${t('detections.between')}</option></select></label>
      ${f.from || f.to ? ['from', 'to'].map((name) => html`<label class="field"><span>${t(`detections.${name}`)}</span><input type="datetime-local" data-filter=${name} .value=${live(to_local(f[name]))} @change=${(e) => this.set({ [name]: from_local(e.target.value) })}></label>`) : nothing}
      ${narrows(f) ? html`<button type="button" class="button" data-filter="clear" @click=${() => this.refilter({ ...NO_FILTER })}>${icon('x')}<span>${t('feeds.clear')}</span></button>` : nothing}
      <div class="feeds-tools">${panel_clock(this.clock, t('detections.title'))}
        <span class="feeds-count" data-updated>${this.updated ? t('detections.updated', { time: moment(this.updated.at, this.updated.at), age: span((performance.now() - this.updated.mono) / 1_000) }) : t('empty.loading')}</span>
        <a class="button small" data-csv href=${address('api/detections.csv', filter_query(f, this.updated?.at ?? Date.now()))} download="detections.csv">${icon('download')}<span>${t('detections.csv')}</span></a></div>
    </search>`;
  }

  summary_card() {
    const { sums, spread } = this.kept;
    const asked = this.filter.min_confidence ? this.sums : this.spread;
    const fault = asked.status === 'error' ? asked.reason : this.spread.status === 'error' && spread ? this.spread.reason : null;
    const retry = () => this.load();
    return card('detection-summary', {
      title: t('detections.summary'),
      body: () => (sums ? html`${panel_fault(fault)}
        <dl class="facts">
          ${fact(t('detections.total'), html`<span class="num" data-total>${count(sums.total)}</span>`)}
          ${fact(t('detections.skus'), html`<span class="num">${count(sums.unique_skus)}</span>`)}
          ${fact(t('detections.labels'), html`<span class="num">${count(sums.unique_labels)}</span>`)}
          ${fact(t('detections.locations'), html`<span class="num">${count(sums.unique_locations)}</span>`)}
          ${fact(t('detections.confidence'), html`<span class="num">${percent(sums.mean_confidence)}</span>`)}
          ${fact(t('detections.discrepancies'), html`<span class="num" data-tone=${sums.discrepancies.length ? 'warn' : nothing}>${count(sums.discrepancies.length)}</span>`)}
        </dl>
        <h3 class="card-sub">${t('detections.histogram')}</h3>
        ${!spread ? remote_empty(this.spread, t('detections.none'), retry) : spread.total ? histogram(spread.histogram, this.least, {
          moving: (least) => { this.least = least; this.app.ticker.now(); },
          chosen: (least) => this.set({ min_confidence: least }),
        }) : html`<p class="empty" data-empty=${narrows(this.filter) ? 'filter' : 'none'}>${t(narrows(this.filter) ? 'feeds.no_match' : 'detections.none')}</p>`}
        <h3 class="card-sub">${t('detections.models')}</h3>
        ${sums.models.length ? html`<ul class="names">${sums.models.slice(0, 8).map(([name, n]) => html`<li><span class="clip">${name}</span><span class="num">${count(n)}</span></li>`)}</ul>` : html`<p class="muted">${DASH}</p>`}
        ${sums.complete ? nothing : html`<p class="note" data-tone="busy" role="status">${icon('clock')}<span>${t('detections.reading')}</span></p>`}`
        : remote_empty(asked, t('detections.none'), retry)),
    });
  }

  differences_card() {
    const all = ordered(this.kept.sums?.discrepancies ?? []);
    const now = this.app.store.clock.now_ms();
    return card('discrepancies', {
      title: t('detections.discrepancies'),
      summary: this.kept.sums ? t('detections.differ', { n: all.length }) : null,
      body: () => (all.length ? html`<ul class="rows tight">${repeat(all.slice(0, DIFFERENCES), (d) => `${d.location}/${d.sku}/${d.type}`, (d) => html`<li class="row" data-discrepancy=${d.type}>
          <div class="row-head"><span class="row-name">${d.location} · ${d.name ?? d.sku}</span>${chip('discrepancy', d.type, { quiet: true })}</div>
          <div class="row-sub">${d.name ? html`<span>${d.sku}</span>` : nothing}<span class="num">${t('detections.counted', { detected: count(d.detected), expected: count(d.expected) })}</span>${
            d.belongs?.length ? html`<span>${t('detections.belongs', { where: d.belongs.join(', ') })}</span>` : nothing}<span class="num">${t('detections.looked', { time: moment(d.seen, now) })}</span></div></li>`)}</ul>
          ${all.length > DIFFERENCES ? html`<p class="more">${t('list.more', { n: all.length - DIFFERENCES })}</p>` : nothing}`
        : this.kept.sums ? html`<p class="empty" data-empty="none">${t(this.plan.body?.items.length === 0 ? 'detections.no_plan' : 'detections.as_planned')}</p>`
          : remote_empty(this.filter.min_confidence ? this.sums : this.spread, t('detections.none'), () => this.load())),
    });
  }

  list_card() {
    const body = this.kept.list;
    const items = body?.items ?? [];
    const fault = this.list.status === 'error' ? this.list.reason : null;
    return card('detection-list', {
      title: t('detections.list'),
      summary: body ? html`<span class="num">${t('detections.found', { n: body.total, count: count(body.total) })}</span>` : null,
      body: () => (!body ? remote_empty(this.list, t('detections.none'), () => this.load())
        : items.length === 0 ? html`${panel_fault(fault)}<p class="empty" data-empty=${narrows(this.filter) ? 'filter' : 'none'}>${t(narrows(this.filter) ? 'feeds.no_match' : 'detections.none')}</p>`
          : html`${panel_fault(fault)}${this.sketch(items)}${this.table(items)}
          <div class="pager-line">
            <button type="button" class="button small" data-page="newer" aria-disabled=${String(!this.cursors.length)} @click=${() => this.cursors.length && this.turn(this.cursors.slice(0, -1))}>${icon('chevron-left')}<span>${t('detections.newer')}</span></button>
            <span class="num">${t('detections.page', { page: this.cursors.length + 1 })}</span>
            <button type="button" class="button small" data-page="older" aria-disabled=${String(!body.next)} @click=${() => body.next && this.turn([...this.cursors, body.next])}><span>${t('detections.older')}</span>${icon('chevron-right')}</button></div>`),
    });
  }

  sketch(items) {
    const look = look_of(items, this.selected);
    const { one } = look;
    const image = link(one.image_url);
    return html`<div class="look">${shelf_sketch(look)}<dl class="facts dense">
      ${fact(t('detections.label'), one.label)}${fact(t('detections.sku'), one.sku ?? DASH)}${fact(t('detections.location'), one.location ?? DASH)}${fact(t('detections.one_confidence'), html`<span class="num">${percent(one.confidence)}</span>`)}
      ${fact(t('detections.model'), one.model ?? DASH)}${fact(t('detections.from_source'), one.source ?? DASH)}
      ${image ? fact(t('detections.image'), html`<a class="link" href=${image} target="_blank" rel="noopener noreferrer nofollow">${t('detections.open_image')}</a>`) : nothing}</dl></div>`;
  }

  table(items) {
    const now = this.app.store.clock.now_ms();
    const chosen = look_of(items, this.selected).one?.detection_id;
    const show = (id) => () => { this.selected = id; this.app.ticker.now(); };
    return html`<div class="feeds-scroll" tabindex="0" role="group" aria-label=${t('detections.list')}><table class="feeds-table" aria-live="off">
      <thead><tr><th scope="col">${t('detections.time')}</th><th scope="col">${t('detections.label')}</th><th scope="col">${t('detections.sku')}</th><th scope="col">${t('detections.location')}</th><th scope="col" class="right">${t('detections.one_confidence')}</th><th scope="col">${t('detections.from_source')}</th><th scope="col">${t('detections.box')}</th></tr></thead>
      <tbody>${repeat(items, (d) => d.detection_id, (d) => html`<tr data-detection=${d.detection_id} ?data-chosen=${d.detection_id === chosen}><th scope="row" class="num">${moment(d.timestamp, now)}</th><td>${d.label}</td><td>${d.sku ?? DASH}</td><td>${d.location ?? DASH}</td><td class="num right">${percent(d.confidence)}</td><td>${d.source ?? DASH}</td>
        <td><button type="button" class="button small" data-show aria-pressed=${String(d.detection_id === chosen)} aria-label=${t('detections.show_box', { label: d.label, time: moment(d.timestamp, now) })} @click=${show(d.detection_id)}>${icon('scan-eye')}</button></td></tr>`)}</tbody></table></div>`;
  }
}
