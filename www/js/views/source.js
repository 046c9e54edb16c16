// One source: how it stands and what to do about it, everything it counts, the last line it could not read, what it
// feeds, and the alerts about it.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { bytes, clock, number, span } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { Remote } from '../core/remote.js';
import { card, empty } from '../parts/card.js';
import { chip } from '../parts/chip.js';
import { icon } from '../parts/icon.js';
import { age_tag, fact } from '../parts/value.js';
import { configured, counters, feeds, silent_s, visible } from '../state/source.js';

/** Kinds with their own words for trouble; the others get the general ones. */
const HELPED = { gpio: 'gpio', serial: 'serial', http: 'http' };

export function open_source(app, id, signal) {
  // What a source feeds is written in the file.
  const file = new Remote(app, 'api/config', { signal });
  file.load();
  return { title: () => `${id} · ${t('nav.system')}`, draw: () => source_page(app, id, configured(file.body?.lists, id)) };
}

function source_page(app, id, written) {
  const entry = app.store.slices.sources.get(id);
  return html`<div class="overview narrow" data-source=${id}>
    <p><a class="button small" href="#/system">${icon('chevron-left')}<span>${t('source.back')}</span></a></p>
    ${entry ? source_cards(app, id, entry, written) : card('source', { title: id, body: () => empty(app, t('source.unknown', { id })) })}
  </div>`;
}

function source_cards(app, id, entry, written) {
  const p = entry.payload;
  const fresh = app.judge(entry);
  const now = app.store.clock.now_ms();
  const silent = silent_s(entry, fresh.age_s);
  const rows = counters(p.detail);
  const fed = [...new Set([...feeds(p.detail), ...(written?.feeds ?? [])])];
  const about = [...app.store.slices.alerts.values()].map((e) => e.payload).filter((a) => a.source === id || a.alert_id === `source.${id}`);
  const bad = p.detail?.last_bad;
  return html`
    ${card('source', {
      title: id,
      summary: age_tag(fresh),
      body: () => html`
        <p class="source-state">${chip('source', p.status)} <span class="muted">${p.kind}</span></p>
        ${help(p)}
        <dl class="facts wide">
          ${fact(t('source.last_heard'), silent === null ? t('source.never') : html`<span class="num">${t('source.ago', { span: span(silent) })}</span><span class="num muted">${clock(p.last_seen, now)}</span>`)}
          ${p.quality && p.quality !== 'good' ? fact(t('source.quality'), html`${chip('quality', p.quality, { quiet: true })}${p.quality_reason ? html`<span class="muted">${word('reason', p.quality_reason)}</span>` : nothing}`) : nothing}
          ${fact(t('source.errors'), html`<span class="num">${number(p.errors)}</span>`)}
          ${fact(t('source.reconnects'), html`<span class="num">${number(p.reconnects)}</span>`)}
          ${p.last_error ? fact(t('source.last_error'), html`<span class="wrap">${p.last_error}</span>`) : nothing}
          ${fact(t('source.feeds'), fed.length ? fed.map((to) => target(to)) : html`<span class="muted">${t('source.feeds_unknown')}</span>`)}
          ${written ? fact(t('source.written'), html`<a class="link" href=${`#/system/config/${written.list}`}>[[${written.list}]]</a>`) : nothing}
        </dl>
        ${about.map((a) => html`<p><a class="link" href=${`#/alerts/${encodeURIComponent(a.alert_id)}`}>${chip('alert', a.severity, { quiet: true })} <span>${a.message}</span></a></p>`)}
        <p><a class="link" href=${`#/log?source=${encodeURIComponent(id)}`}>${t('source.log')}</a></p>`,
    })}
    ${bad ? card('last-bad', {
      title: t('source.last_bad'),
      summary: bad.at ? html`<span class="num">${clock(bad.at, now)}</span>` : null,
      body: () => html`<pre class="bytes" tabindex="0" aria-label=${t('source.last_bad')}>${visible(bad.line ?? '')}</pre><p>${bad.why ?? nothing}</p>`,
    }) : nothing}
    ${card('counters', {
      title: t('source.counters'),
      body: () => (rows.length ? html`<table class="plain"><tbody>${rows.map(({ name, value }) => html`<tr><th scope="row"><code>${name}</code></th><td class="num">${shown(name, value)}</td></tr>`)}</tbody></table>`
        : html`<p class="empty" data-empty="none">${t('source.no_counters')}</p>`),
    })}`;
}

function shown(name, value) {
  if (value === null || value === undefined) return '–';
  if (typeof value === 'boolean') return t(value ? 'form.on' : 'form.off');
  if (typeof value !== 'number') return visible(value);
  return /(^|_|\.)bytes$/.test(name) && value >= 1_000 ? `${number(value)} (${bytes(value)})` : number(value);
}

/** What to do about the state it is in, in the words of its kind where there are some. */
function help(p) {
  if (p.status === 'ok') return nothing;
  const own = `source.help.${p.status}.${HELPED[p.kind] ?? 'other'}`;
  const text = t(own) === own ? t(`source.help.${p.status}`) : t(own);
  if (text === `source.help.${p.status}`) return nothing;
  return html`<p class="note" data-tone=${p.status === 'disabled' || p.status === 'opening' || p.status === 'no_data' ? 'busy' : 'warn'}>${icon('info')}<span>${text}</span></p>`;
}

/** `recorder/deck` with the way to where it is shown. */
function target(to) {
  const [kind] = to.split('/');
  const page = { recorder: 'recorder', instrument: 'instruments', stream: 'streams' }[kind];
  return page ? html`<a class="link" href=${page === 'recorder' ? '#/recorder' : '#/overview'}>${to}</a>` : html`<code>${to}</code>`;
}
