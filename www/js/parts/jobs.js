// A job with everything that is known of it, and a way to cancel it where somebody hears that.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { clock, count, duration, span } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { LIMIT_S } from '../state/freshness.js';
import { chip } from './chip.js';
import { command_button, command_note } from './command_button.js';
import { progress } from './progress.js';
import { age_tag } from './value.js';

export function job_detail(app, id, entry) {
  const p = entry.payload;
  const running = p.status === 'running';
  const waiting = p.status === 'queued';
  const put_off = waiting && p.deferred === true;
  const fresh = app.judge(entry, running ? LIMIT_S.job : undefined);
  const kind = word('job.kind', p.kind);
  const order = { target: `job/${id}`, action: 'cancel', path: `api/jobs/${encodeURIComponent(id)}/cancel`, effect: ['cancelled'] };
  const loss = { title: t('job.cancel.title', { kind }), loss: t('job.cancel.loss', { source: p.source ?? id }), action: t('job.cancel.confirm') };
  return html`<li class="row job" data-status=${p.status} data-job=${id}>
    <div class="row-head"><span class="row-name">${kind}</span>${chip('job', p.status, { quiet: true, text: put_off ? t('job.deferred') : undefined, pulse: app.changes.of(`job/${id}`, `${p.status}/${put_off}`) })}</div>
    <div class="row-sub"><span class="clip">${p.source ? word('job.source', p.source) : id}</span>
      ${p.message ? html`<span class="clip">${p.message}</span>` : nothing}
      ${typeof p.total === 'number' && typeof p.done === 'number' && p.total > 0 && p.total < 10_000 ? html`<span class="num">${t('job.amount', { done: count(p.done), total: count(p.total) })}</span>` : nothing}
      ${typeof p.elapsed_s === 'number' ? html`<span class="num">${t('job.elapsed', { span: duration(p.elapsed_s + (running && !fresh.stale ? fresh.age_s : 0)) })}</span>` : nothing}
      ${running && typeof p.eta_s === 'number' ? html`<span class="num">${t('time.left', { span: span(p.eta_s) })}</span>` : nothing}
      ${running ? (fresh.stale ? age_tag(fresh) : nothing) : html`<span class="num">${clock(entry.stamp, app.store.clock.now_ms())}</span>`}</div>
    ${waiting && p.reason ? html`<p class="row-error" data-tone="warn">${t('job.deferred_because', { reason: p.reason })}</p>` : nothing}
    ${p.error ? html`<p class="row-error" data-tone="bad">${p.error}</p>` : nothing}
    ${running ? progress(p.progress, { label: `${kind} ${id}`, tone: fresh.stale ? 'off' : 'busy' }) : nothing}
    ${(running || waiting) && p.allowed_actions?.includes('cancel') ? html`<div class="actions apart">${command_button(app, { order, label: t('job.cancel.confirm'), shape: 'x', destructive: loss, name: kind })}</div>` : nothing}
    ${command_note(app, { order })}
  </li>`;
}
