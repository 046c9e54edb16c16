// The system page: its sources, how this browser is connected, the clocks, storage and card, services, versions; and
// below it one source (`#/system/sources/ID`) and the configuration (`#/system/config`).

import { html, nothing, svg } from '../../vendor/lit-html/lit-html.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { bytes, clock, count, number, percent, span } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { ROOT } from '../core/api.js';
import { Remote } from '../core/remote.js';
import { box_card } from '../parts/box.js';
import { card, empty } from '../parts/card.js';
import { chip } from '../parts/chip.js';
import { command_button, command_note } from '../parts/command_button.js';
import { icon } from '../parts/icon.js';
import { services_panel } from '../parts/services.js';
import { age_tag, fact } from '../parts/value.js';
import { clock_of, readers_of } from '../state/health.js';
import { silent_s } from '../state/source.js';
import { shown_sources } from '../state/sources.js';
import { ConfigView } from './config.js';
import { open_source } from './source.js';

/** The counters live with the connection; they are asked for this often while someone looks. */
const REFRESH_MS = 2_000;
const RECORDINGS_MS = 30_000;
const CLOCKS_DIFFER_S = 60;
const IN_STEP_S = 2;

export function open(app, route, signal) {
  const [part, id] = route.parts;
  if (part) requestAnimationFrame(() => (part === 'card' || part === 'services' ? document.getElementById(`card-${part === 'card' ? 'storage' : part}`)?.scrollIntoView() : scrollTo(0, 0)));
  if (part === 'sources' && id) return open_source(app, id, signal);
  if (part === 'config') {
    const view = new ConfigView(app, route, signal);
    return { title: () => `${t('config.title')} · ${t('nav.system')}`, draw: () => view.draw() };
  }
  app.connection.want([], { signal });
  app.connection.refresh();
  const timer = setInterval(() => app.connection.refresh(), REFRESH_MS);
  signal.addEventListener('abort', () => clearInterval(timer));
  const recordings = new Remote(app, 'api/recordings', { query: () => ({ limit: 1 }), signal });
  let asked_at = -Infinity;
  return {
    title: () => t('nav.system'),
    draw() {
      // Without a folder of recordings there is nobody to ask.
      if (app.store.slices.sources.has('recordings') && performance.now() - asked_at > RECORDINGS_MS) {
        asked_at = performance.now();
        recordings.load();
      }
      return draw(app, recordings);
    },
  };
}

function draw(app, recordings) {
  return html`<div class="overview">
    ${sources_table(app)}
    <div class="columns">
      <div class="column">${clocks_card(app)}${storage_card(app, recordings)}${box_card(app, { storage: false })}</div>
      <div class="column">${services_panel(app)}${config_door()}${versions_card(app)}</div>
      <div class="column">${connection_card(app)}</div>
    </div></div>`;
}

const num = (content) => html`<span class="num">${content}</span>`;

// ---- sources ----

function sources_table(app) {
  const { sources } = app.store.slices;
  return card('sources', {
    title: t('sources.title'),
    summary: sources.size ? num(count(sources.size)) : null,
    body: () => (sources.size ? html`<table class="list" aria-labelledby="card-sources-title">
      <thead><tr>${['name', 'state', 'kind', 'heard', 'errors', 'reconnects', 'last_error'].map((name) => html`<th scope="col">${t(`sources.col.${name}`)}</th>`)}</tr></thead>
      <tbody>${repeat(shown_sources(sources), ({ id }) => id, ({ id, entry }) => source_row(app, id, entry))}</tbody></table>`
      : empty(app, t('sources.none'))),
  });
}

function source_row(app, id, entry) {
  const p = entry.payload;
  const fresh = app.judge(entry);
  const silent = silent_s(entry, fresh.age_s);
  const cell = (name, content, kind = '') => html`<td class=${kind} data-label=${t(`sources.col.${name}`)}>${content}</td>`;
  return html`<tr data-status=${p.status} data-source=${id}>
    <th scope="row"><a class="link" href=${`#/system/sources/${encodeURIComponent(id)}`}>${id}</a></th>
    ${cell('state', chip('source', p.status, { quiet: true }))}
    ${cell('kind', p.kind)}
    ${cell('heard', html`<span class="num">${silent === null ? t('source.never') : t('source.ago', { span: span(silent) })}</span>${fresh.stale ? html` ${age_tag(fresh)}` : nothing}`, 'num')}
    ${cell('errors', number(p.errors), 'num')}
    ${cell('reconnects', number(p.reconnects), 'num')}
    ${p.last_error ? cell('last_error', html`<span class="wrap">${p.last_error}</span>`, 'long') : html`<td class="long none"></td>`}
  </tr>`;
}

// ---- clocks ----

const SET = { target: 'clock', action: 'set_time', path: 'api/time', body: () => ({ now: new Date().toISOString() }) };

const FORGET = { target: 'clock', action: 'forget_time', path: 'api/time', method: 'DELETE' };

function clocks_card(app) {
  const { clock: daemon, hello, slices } = app.store;
  const said = clock_of(slices.health.box?.payload) ?? (hello?.clock ? clock_of({ clock: hello.clock }) : null);
  const offset = daemon.offset_s();
  const now = daemon.now_ms();
  const words = offset === null ? '–' : Math.abs(offset) < IN_STEP_S ? t('system.offset.same')
    : t(offset > 0 ? 'system.offset.ahead' : 'system.offset.behind', { span: span(Math.abs(offset)) });
  const unsynced = said?.quality === 'unsynced' || said?.quality === 'manual';
  return card('clocks', {
    title: t('system.clocks'),
    body: () => html`<dl class="facts wide">
      ${fact(t('system.box_time'), num(now === null ? '–' : clock(new Date(now).toISOString(), now)))}
      ${fact(t('system.offset'), num(words))}
      ${said ? fact(t('box.clock'), chip('clock', said.quality, { quiet: true })) : nothing}
      ${said?.source ? fact(t('clocks.source'), said.source) : nothing}
      ${said?.since ? fact(t('clocks.since'), num(clock(said.since, now))) : nothing}
      ${typeof said?.offset_s === 'number' ? fact(t('clocks.manual'), num(t('clocks.by', { span: signed(said.offset_s) }))) : nothing}</dl>
      ${offset !== null && Math.abs(offset) > CLOCKS_DIFFER_S ? html`<p class="note" data-tone="warn" data-notice="clock">${t('system.clock_differs', { span: span(Math.abs(offset)) })}</p>` : nothing}
      ${said?.quality === 'unsynced' ? html`<p class="note" data-tone="warn" data-notice="unsynced">${t('system.clock_unsynced')}</p>` : nothing}
      ${unsynced ? set_clock(app, offset, said.quality === 'manual') : nothing}
      ${said?.steps.length ? html`<h3 class="card-sub">${t('clocks.steps')}</h3><ul class="rows tight">${said.steps.map((step) => html`<li class="row"><div class="row-sub">
        ${num(clock(step.at, now))}${num(t('clocks.by', { span: signed(step.delta_s) }))}</div></li>`)}</ul>` : nothing}`,
  });
}

const signed = (s) => (typeof s === 'number' ? `${s < 0 ? '−' : '+'}${Math.abs(s) < 60 ? `${number(Math.abs(s), 1)} s` : span(Math.abs(s))}` : '–');

/** The clock of the box is changed for everybody: what happens is said before it does. */
function set_clock(app, offset, manual) {
  const blocked = app.store.may_admin() ? null : t('action.no_admin');
  const destructive = {
    title: t('clocks.set_title'), action: t('clocks.set_confirm'),
    loss: t('clocks.set_loss', { time: clock(new Date().toISOString()), span: signed(offset ?? NaN) }),
  };
  return html`<div class="actions">${command_button(app, { order: SET, label: t('clocks.set'), shape: 'clock', blocked, destructive })}
      ${manual ? command_button(app, { order: FORGET, label: t('clocks.forget'), blocked, destructive: { title: t('clocks.forget_title'), loss: t('clocks.forget_loss'), action: t('clocks.forget') } }) : nothing}</div>
    ${blocked ? html`<p class="hint">${blocked}</p>` : nothing}<div class="notes">${[SET, FORGET].map((order) => command_note(app, { order }))}</div>`;
}

// ---- storage ----

/** Shares of a disk: what telltale keeps, what others do, what is free. */
function storage_card(app, recordings) {
  const p = app.store.slices.health.box?.payload;
  const summary = recordings.body?.summary;
  const disk = summary?.disk ?? (p?.disks?.length === 1 ? p.disks[0] : null);
  const parts = [['database', p?.store?.bytes], ['recordings', summary?.bytes], ['bin', summary?.bin?.bytes]].filter(([, n]) => typeof n === 'number');
  return card('storage', {
    title: t('disk.title'),
    body: () => (p ? html`
      ${sd_card(p.card, app)}
      ${disk ? bar(disk, parts) : nothing}
      <dl class="facts wide">
        ${parts.map(([name, n]) => fact(t(`disk.${name}`), num(bytes(n))))}
        ${(p.disks ?? []).map((d) => fact(t('box.disk', { path: d.path }), num(t('disk.of', { free: bytes(d.free), total: bytes(d.total) }))))}
        ${typeof p.store?.written_today === 'number' ? fact(t('box.written'), num(bytes(p.store.written_today))) : nothing}
        ${typeof p.store?.commit_ms === 'number' ? fact(t('disk.commit'), num(`${number(p.store.commit_ms)} ms`)) : nothing}
        ${typeof p.store?.lag_ms === 'number' ? fact(t('disk.lag'), num(`${number(p.store.lag_ms)} ms`)) : nothing}
      </dl>` : empty(app, t('box.none'))),
  });
}

function sd_card(sd, app) {
  if (!sd?.errors) return nothing;
  return html`<div class="note block" data-tone="bad" data-notice="card" role="status">${icon('octagon-alert')}<div>
    <p><strong>${t('disk.card', { n: sd.errors })}</strong></p>
    ${sd.last_error ? html`<p><code class="wrap">${sd.last_error}</code>${sd.at ? html` <span class="num">${clock(sd.at, app.store.clock.now_ms())}</span>` : nothing}</p>` : nothing}
    <p>${t('disk.card_help')}</p></div></div>`;
}

function bar(disk, parts) {
  const known = parts.reduce((sum, [, n]) => sum + n, 0);
  const used = Math.max(0, disk.total - disk.free);
  const shares = [...parts, ['rest', Math.max(0, used - known)]].map(([name, n]) => [name, n / disk.total]);
  let x = 0;
  const words = [...shares.map(([name, share]) => `${t(`disk.${name}`)} ${percent(share)}`), `${t('disk.free')} ${percent(disk.free / disk.total)}`].join(', ');
  return html`<figure class="shares"><svg viewBox="0 0 1000 24" preserveAspectRatio="none" role="img" aria-label=${words}>
      ${shares.map(([name, share]) => {
        const from = x;
        x += share;
        return svg`<rect data-share=${name} x=${from * 1_000} y="0" width=${share * 1_000} height="24"></rect>`;
      })}</svg>
    <figcaption>${shares.map(([name, share]) => html`<span class="share" data-share=${name}>${t(`disk.${name}`)} <span class="num">${percent(share)}</span></span>`)}<span class="share" data-share="free">${
      t('disk.free')} <span class="num">${percent(disk.free / disk.total)}</span></span></figcaption></figure>`;
}

// ---- the rest ----

function config_door() {
  return card('config-door', {
    title: t('config.title'),
    body: () => html`<p class="hint first">${t('config.door')}</p><div class="actions"><a class="button" href="#/system/config">${icon('settings')}<span>${t('config.open')}</span></a></div>`,
  });
}

function connection_card(app) {
  const link = app.store.link;
  const counters = link.counters ?? {};
  const readers = readers_of(app.store.slices.health.box?.payload);
  const rows = ['events', 'repeats', 'reconnects', 'drops', 'stalls', 'gaps', 'lost', 'catch_ups', 'polls', 'poll_failures'];
  return card('connection', {
    title: t('system.connection'),
    body: () => html`<dl class="facts wide">
      ${fact(t('system.state'), chip('conn', link.status, { quiet: true }))}
      ${fact(t('system.path'), html`<span data-path=${link.path}>${t(`system.path.${link.path ?? 'none'}`)}</span>`)}
      ${fact(t('system.mode'), t(`settings.mode.${link.mode ?? 'auto'}`))}
      ${fact(t('system.transport'), t(`system.transport.${link.transport ?? 'tab'}`))}
      ${fact(t('system.tabs'), num(count(link.tabs)))}
      ${readers === null ? nothing : fact(t('system.readers'), html`<span class="num" data-readers>${count(readers)}</span>`)}
      ${fact(t('system.heartbeat'), num(span((link.heartbeat_ms ?? NaN) / 1_000)))}
      ${fact(t('system.cursor'), html`<code>${link.cursor ?? '–'}</code>`)}
      ${fact(t('system.topics'), (link.topics ?? []).map((topic) => html`<span class="tag">${topic}</span>`))}
      ${rows.map((name) => fact(t(`system.${name}`), html`<span class="num" data-counter=${name}>${count(counters[name])}</span>`))}
      ${fact(t('system.last_fault'), fault(app, link.last_fault))}
    </dl>
    <div class="actions"><button class="button" type="button" data-act="refresh" @click=${() => app.connection.restart()}>${icon('refresh-cw')}<span>${t('system.refresh')}</span></button></div>
    <p class="hint">${t('system.refresh_hint')}</p>`,
  });
}

function fault(app, last) {
  if (!last) return t('system.none_yet');
  const key = `system.fault.${last.what}`;
  const text = t(key) === key ? t('system.fault.other', { code: last.what }) : t(key);
  return html`${text}, ${num(clock(new Date(last.at).toISOString(), Date.now()))}`;
}

function versions_card(app) {
  const { hello, first_version } = app.store;
  return card('versions', {
    title: t('system.versions'),
    body: () => html`<dl class="facts wide">
      ${fact(t('system.server'), hello?.server ?? '–')}
      ${fact(t('system.version'), hello?.version ? html`${hello.version}${app.store.outdated() ? html` <span class="muted">(${first_version})</span>` : nothing}` : '–')}
      ${fact(t('system.epoch'), num(hello?.epoch ?? '–'))}
      ${fact(t('system.role'), hello?.role ? word('role', hello.role) : '–')}</dl>
      <p><a href=${new URL('vendor/THIRD_PARTY.txt', ROOT).href}>${t('system.third_party')}</a></p>`,
  });
}
