// Every scan there was: filtered by queue, status and text, a page at a time; states come live to where they stand.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { clock, count, duration } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { Remote } from '../core/remote.js';
import { rewrite } from '../core/router.js';
import { card } from '../parts/card.js';
import { badge } from '../parts/chip.js';
import { icon } from '../parts/icon.js';
import { points } from '../parts/lab_rows.js';
import { lab_tabs } from '../parts/lab_tabs.js';
import { panel_fault } from '../parts/panel_clock.js';
import { progress } from '../parts/progress.js';
import { remote_empty } from '../parts/remote.js';
import { is_live } from '../state/lab_queue.js';
import { NONE, PAGE, STATUSES, filter_of, fresh, narrowed, overlaid, query_of } from '../state/scan_list.js';

const TYPED_MS = 300;
const TEXT_MOST = 200;

export function open(app, route, signal) {
  const view = new ScansView(app, route, signal);
  return { title: () => t('nav.scans'), draw: () => view.draw() };
}

class ScansView {
  constructor(app, route, signal) {
    Object.assign(this, { app, signal });
    this.filter = filter_of(route.query);
    this.cursors = [null];
    this.asked = new Remote(app, 'api/scans', { query: () => ({ ...this.filter, limit: PAGE, cursor: this.cursors.at(-1) }), signal });
    this.forget();
    this.seen = new Set();
    signal.addEventListener('abort', () => clearTimeout(this.typing));
    this.load();
  }

  /** What was asked for another filter is no answer to this one. */
  forget() {
    Object.assign(this, { items: [], total: null, next: null });
    this.asked.status = 'loading';
  }

  async load() {
    const body = await this.asked.load();
    if (!body) return;
    const items = body.items ?? [];
    Object.assign(this, { items, next: body.next ?? null, total: body.total ?? items.length });
    this.seen = new Set([...this.app.store.slices.scans.keys(), ...items.map((s) => s.scan_id)]);
    this.app.ticker.now();
  }

  choose(changes, wait_ms = 0) {
    this.filter = { ...this.filter, ...changes };
    clearTimeout(this.typing);
    this.typing = setTimeout(() => {
      this.cursors = [null];
      this.forget();
      rewrite(`#/scans${query_of(this.filter)}`);
      this.load();
      this.app.ticker.now();
    }, wait_ms);
    this.app.ticker.now();
  }

  page(cursors) {
    this.cursors = cursors;
    this.load();
  }

  draw() {
    const { scans } = this.app.store.slices;
    const rows = overlaid(this.items, scans);
    const newer = this.cursors.length === 1 && this.asked.status === 'ok' ? fresh(this.items, scans, this.filter, this.seen).length : 0;
    return html`<div class="overview lab">
      ${lab_tabs('scans', this.app)}
      ${card('scan-list', {
        title: t('scan_list.title'),
        summary: this.total === null ? null : html`<span class="num" data-total>${t('scan_list.total', { n: this.total, total: count(this.total) })}</span>`,
        body: () => html`
          ${this.filters()}
          <p class="fresh" ?hidden=${!newer}><button type="button" class="button small" data-fresh=${newer} @click=${() => this.load()}>${icon('refresh-cw')}<span>${t('scan_list.fresh', { n: newer })}</span></button></p>
          ${rows.length ? html`${panel_fault(this.asked.status === 'ok' || this.asked.status === 'loading' ? null : this.asked.reason)}<table class="list scan-table"><thead><tr>${['name', 'status', 'points', 'time', 'queue'].map((c) => html`<th scope="col">${t(`scan_list.${c}`)}</th>`)}</tr></thead>
            <tbody>${repeat(rows, (s) => s.scan_id, (s) => this.row(s))}</tbody></table>` : this.none()}
          ${this.cursors.length > 1 || this.next ? html`<nav class="actions pages" aria-label=${t('scan_list.pages')}>
            <button type="button" class="button" data-page="before" aria-disabled=${this.cursors.length > 1 ? 'false' : 'true'} @click=${() => this.cursors.length > 1 && this.page(this.cursors.slice(0, -1))}>${icon('chevron-left')}<span>${t('scan_list.before')}</span></button>
            <button type="button" class="button" data-page="after" aria-disabled=${this.next ? 'false' : 'true'} @click=${() => this.next && this.page([...this.cursors, this.next])}><span>${t('scan_list.after')}</span>${icon('chevron-right')}</button></nav>` : nothing}`,
      })}
    </div>`;
  }

  filters() {
    const { filter } = this;
    const queues = [...new Set([...this.app.store.slices.queues.keys(), ...(filter.queue_id ? [filter.queue_id] : [])])].sort();
    return html`<search class="log-filters" role="search" aria-label=${t('scan_list.filter')}>
      <label class="field"><span>${t('scan_list.queue')}</span><select name="queue_id" @change=${(e) => this.choose({ queue_id: e.target.value })}>
        <option value="" .selected=${!filter.queue_id}>${t('scan_list.any')}</option>${queues.map((id) => html`<option value=${id} .selected=${filter.queue_id === id}>${this.app.store.slices.queues.get(id)?.payload.name ?? id}</option>`)}</select></label>
      <label class="field"><span>${t('scan_list.status')}</span><select name="status" @change=${(e) => this.choose({ status: e.target.value })}>
        <option value="" .selected=${!filter.status}>${t('scan_list.any')}</option>${STATUSES.map((s) => html`<option value=${s} .selected=${filter.status === s}>${word('scan', s)}</option>`)}</select></label>
      <label class="field log-search"><span>${t('scan_list.text')}</span><input type="search" name="text" maxlength=${TEXT_MOST} autocomplete="off" autocapitalize="off" spellcheck="false" .value=${live(filter.text)} @input=${(e) => this.choose({ text: e.target.value }, TYPED_MS)}></label>
    </search>`;
  }

  row(s) {
    const now = this.app.store.clock.now_ms();
    const running = s.status === 'running' || s.status === 'paused';
    const when = s.ended_at ?? s.started_at ?? s.created_at ?? s.timestamp;
    return html`<tr data-scan=${s.scan_id} data-status=${s.status} ?data-changed=${this.app.changes.of(`row/${s.scan_id}`, s.status)}>
      <th scope="row"><a class="row-link" href=${`#/scan/${encodeURIComponent(s.scan_id)}`}>${s.name ?? s.scan_id}</a><span class="scan-id">${s.scan_id}</span></th>
      <td data-label=${t('scan_list.status')}>${badge(this.app, 'scan', s.scan_id, s.status)}</td>
      <td class="num">${points(s)}${running ? progress(s.progress, { label: s.name ?? s.scan_id, figure: false }) : nothing}</td>
      <td data-label=${t('scan_list.time')} class="num">${clock(when, now)}${typeof s.elapsed_s === 'number' && !is_live(s.status) ? html` · ${duration(s.elapsed_s)}` : nothing}</td>
      <td data-label=${t('scan_list.queue')} class=${s.queue_id ? '' : 'none'}>${s.queue_id ?? nothing}</td>
    </tr>`;
  }

  none() {
    if (this.asked.status !== 'ok' || !narrowed(this.filter)) return remote_empty(this.asked, t('scan_list.none'), () => this.load());
    return html`<div class="empty" data-empty="filter"><p>${t('scan_list.no_match')}</p><button type="button" class="button small" @click=${() => this.choose(NONE)}>${t('scan_list.clear')}</button></div>`;
  }
}
