// Queues, scans and readings of instruments as rows, on the overview and on the pages of the lab.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { count, measure, span } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { LIMIT_S } from '../state/freshness.js';
import { queue_progress } from '../state/queues.js';
import { badge, chip } from './chip.js';
import { progress } from './progress.js';
import { age_tag, value } from './value.js';

/** `within` stands below it. */
export function queue_row(app, id, entry, within = nothing) {
  const p = entry.payload;
  const fresh = app.judge(entry);
  return html`<li class="row" data-status=${p.status}>
    <div class="row-head"><a class="row-name row-link" href=${`#/queue/${encodeURIComponent(id)}`}>${p.name ?? id}</a>${badge(app, 'queue', id, p.status)}</div>
    ${progress(queue_progress(p), { label: p.name ?? id, tone: p.status === 'running' ? 'good' : 'off' })}
    <div class="row-sub"><span class="num">${t('queues.scans', { done: count(p.completed_scans), total: count(p.total_scans) })}</span>
      ${p.failed_scans ? html`<strong data-tone="bad">${t('queues.failed', { n: p.failed_scans })}</strong>` : nothing}
      ${p.pending ? html`<strong data-tone="warn">${word('pending', p.pending)}</strong>` : nothing}
      ${p.pause_reason ? html`<span class="clip">${word('pause_reason', p.pause_reason)}</span>` : nothing}
      ${typeof p.eta_s === 'number' && p.status === 'running' && !fresh.stale ? html`<span class="num">${t('time.left', { span: span(p.eta_s) })}</span>` : nothing}
      ${age_tag(fresh)}</div>
    ${within}
  </li>`;
}

/** How many points of how many. */
export function points(p) {
  if (typeof p.points_total === 'number') return t('scans.points', { done: count(p.points_done ?? 0), total: count(p.points_total) });
  return typeof p.points_done === 'number' ? t('scans.points_open', { done: count(p.points_done) }) : nothing;
}

export function scan_row(app, id, entry) {
  const p = entry.payload;
  const fresh = app.judge(entry);
  return html`<li class="row" data-status=${p.status}>
    <div class="row-head"><a class="row-name row-link" href=${`#/scan/${encodeURIComponent(id)}`}>${p.name ?? id}</a>${badge(app, 'scan', id, p.status)}</div>
    ${progress(p.progress, { label: p.name ?? id, tone: p.status === 'running' ? 'good' : 'warn' })}
    <div class="row-sub"><span class="num">${points(p)}</span>
      ${p.pending ? html`<strong data-tone="warn">${word('pending', p.pending)}</strong>` : p.message ? html`<span class="clip">${p.message}</span>` : nothing}
      ${typeof p.eta_s === 'number' && !fresh.stale ? html`<span class="num">${t('time.left', { span: span(p.eta_s) })}</span>` : nothing}
      ${age_tag(fresh)}</div>
  </li>`;
}

/** A value with its age, target and quality; `beside` stands after it. */
export function reading(app, entry, r, beside = nothing) {
  const own = r.last_updated ? { ...entry, born: app.store.clock.born(r.last_updated) ?? entry.born } : entry;
  const fresh = app.judge({ ...own, payload: r }, r.timeout_s ?? LIMIT_S.instrument);
  const good = r.quality === undefined || r.quality === 'good' || fresh.stale;
  return html`<div class="reading"><dt>${r.name}</dt><dd>${value(r.text ?? measure(r.value), { unit: r.unit, fresh })}
    ${typeof r.target === 'number' && r.target !== r.value ? html`<span class="muted num">${t('instruments.target', { target: measure(r.target) })}</span>` : nothing}
    ${good ? nothing : chip('quality', r.quality, { quiet: true, text: r.quality_reason ? word('reason', r.quality_reason) : undefined })}
    ${r.severity && r.severity !== 'NO_ALARM' ? chip('severity', r.severity, { quiet: true }) : nothing}${beside}</dd></div>`;
}
