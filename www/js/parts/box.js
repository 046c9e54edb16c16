// The box, its services and its sources: cards shared by the overview and the system page.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { bytes, clock, count, duration, number, percent } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { LIMIT_S } from '../state/freshness.js';
import { clock_of, memory_used } from '../state/health.js';
import { shown_services } from '../state/services.js';
import { troubled_sources } from '../state/sources.js';
import { card, empty } from './card.js';
import { chip } from './chip.js';
import { icon } from './icon.js';
import { progress } from './progress.js';
import { age_tag, fact, value } from './value.js';

/** Where a bar turns to a warning. */
const HIGH = 0.9;

/** Without `storage` where another card tells of disks. */
export function box_card(app, { storage = true } = {}) {
  const { box } = app.store.slices.health;
  const fresh = box && app.judge(box, LIMIT_S.health);
  return card('box', {
    title: t('box.title'),
    summary: box ? age_tag(fresh) : null,
    body: () => (box ? box_body(box.payload, fresh, storage) : empty(app, t('box.none'))),
  });
}

function box_body(p, fresh, storage) {
  const bar = (share, label) => progress(share, { label, tone: share > HIGH ? 'bad' : 'busy' });
  const memory = memory_used(p.memory);
  return html`<dl class="facts wide" ?data-stale=${fresh.stale}>
    ${fact(t('box.cpu'), bar(p.cpu, t('box.cpu')))}
    ${memory === null ? nothing : fact(t('box.memory'), bar(memory, t('box.memory')))}
    ${(storage ? p.disks ?? [] : []).map((d) => {
      const name = t('box.disk', { path: d.path });
      return fact(name, html`${bar(d.total > 0 ? 1 - d.free / d.total : null, name)}<span class="num muted">${t('box.disk_free', { free: bytes(d.free) })}</span>`);
    })}
    ${typeof p.temperature_c === 'number' ? fact(t('box.temperature'), value(number(p.temperature_c, 1), { unit: '°C', fresh, show_age: false })) : nothing}
    ${throttling(p.throttled)}
    ${clock_of(p) ? fact(t('box.clock'), chip('clock', clock_of(p).quality, { quiet: true })) : nothing}
    ${p.card?.errors ? fact(t('box.card'), html`<a class="chip" data-tone="bad" href="#/system/card">${icon('hard-drive')}<span>${t('box.card_errors', { n: p.card.errors })}</span></a>`) : nothing}
    ${storage && typeof p.store?.written_today === 'number' ? fact(t('box.written'), html`<span class="num">${bytes(p.store.written_today)}</span>`) : nothing}
    ${fact(t('box.uptime'), html`<span class="num">${duration(p.uptime_s)}</span>`)}
  </dl>`;
}

/** `throttled` is what the firmware says: flags, or lists of words, now and since boot. */
function throttling(throttled) {
  const said = (part) => (Array.isArray(part) ? part.length > 0 : Boolean(part));
  const words = (part) => (Array.isArray(part) ? part.join(', ') : '');
  if (said(throttled?.now)) return fact(t('box.throttled'), chip('severity', 'MAJOR', { quiet: true, text: words(throttled.now) || undefined }));
  if (said(throttled?.since_boot)) return fact(t('box.was_throttled'), chip('severity', 'MINOR', { quiet: true, text: words(throttled.since_boot) || undefined }));
  return nothing;
}

export function services_card(app) {
  const { services } = app.store.slices;
  return card('services', {
    title: t('services.title'),
    body: () => (services.size ? html`<ul class="rows tight">${repeat(shown_services(services), ({ id }) => id, ({ id, entry }) => html`
      <li class="row"><div class="row-head"><span class="row-name">${id}</span>${chip('service', entry.payload.status, { quiet: true })}</div>
      <div class="row-sub"><span class="clip">${entry.payload.description ?? ''}</span>${entry.payload.since
        ? html`<span class="num">${t('time.since', { time: clock(entry.payload.since, app.store.clock.now_ms()) })}</span>` : nothing}${entry.payload.restarts
        ? html`<span class="num">${t('services.restarts', { n: entry.payload.restarts })}</span>` : nothing}${app.judge(entry).stale ? age_tag(app.judge(entry)) : nothing}</div></li>`)}</ul>`
      : empty(app, t('services.none'))),
  });
}

/** On the overview: only those that need attention, each with the way to its page. */
export function sources_card(app) {
  const { sources } = app.store.slices;
  const shown = troubled_sources(sources);
  return card('sources', {
    title: t('sources.title'),
    summary: sources.size ? html`<span class="num">${count(sources.size)}</span>` : null,
    body: () => {
      if (!sources.size) return empty(app, t('sources.none'));
      if (!shown.length) return html`<p class="calm" data-tone="good">${chip('source', 'ok', { quiet: true, text: t('sources.fine', { n: sources.size }) })}</p>`;
      return html`<ul class="rows tight">${repeat(shown, ({ id }) => id, ({ id, entry }) => source_row(app, id, entry))}</ul>`;
    },
  });
}

function source_row(app, id, entry) {
  const p = entry.payload;
  const fresh = app.judge(entry);
  return html`<li class="row" data-status=${p.status}>
    <div class="row-head"><a class="link row-name" href=${`#/system/sources/${encodeURIComponent(id)}`}>${id}</a>${chip('source', p.status, { quiet: true })}</div>
    <div class="row-sub"><span>${p.kind}</span>${p.last_seen ? html`<span class="num">${t('source.seen', { time: clock(p.last_seen, app.store.clock.now_ms()) })}</span>` : nothing}${
      p.errors ? html`<span class="num">${t('sources.errors', { n: p.errors })}</span>` : nothing}${
      p.last_error ? html`<span class="guidance">${p.last_error}</span>` : nothing}${fresh.stale ? age_tag(fresh) : nothing}</div>
  </li>`;
}
