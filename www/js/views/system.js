// The system page: how this browser is connected, the clocks, the versions, the box, its services and sources.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { clock, count, span } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { ROOT } from '../core/api.js';
import { box_card, services_card, sources_card } from '../parts/box.js';
import { card } from '../parts/card.js';
import { chip } from '../parts/chip.js';
import { fact } from '../parts/value.js';

/** The counters live with the connection; they are asked for this often while someone looks. */
const REFRESH_MS = 2_000;
const CLOCKS_DIFFER_S = 60;
const IN_STEP_S = 2;

export function open(app, _route, signal) {
  app.connection.want([], { signal });
  app.connection.refresh();
  const timer = setInterval(() => app.connection.refresh(), REFRESH_MS);
  signal.addEventListener('abort', () => clearInterval(timer));
  return { title: () => t('nav.system'), draw: () => draw(app) };
}

function draw(app) {
  return html`<div class="overview"><div class="columns">
    <div class="column">${connection_card(app)}</div>
    <div class="column">${clocks_card(app)}${versions_card(app)}${box_card(app)}</div>
    <div class="column">${services_card(app)}${sources_card(app, { all: true })}</div>
  </div></div>`;
}

const num = (content) => html`<span class="num">${content}</span>`;

function connection_card(app) {
  const link = app.store.link;
  const counters = link.counters ?? {};
  const rows = ['events', 'repeats', 'reconnects', 'drops', 'stalls', 'gaps', 'lost', 'catch_ups', 'polls', 'poll_failures'];
  return card('connection', {
    title: t('system.connection'),
    body: () => html`<dl class="facts wide">
      ${fact(t('system.state'), chip('conn', link.status, { quiet: true }))}
      ${fact(t('system.path'), html`<span data-path=${link.path}>${t(`system.path.${link.path ?? 'none'}`)}</span>`)}
      ${fact(t('system.mode'), t(`settings.mode.${link.mode ?? 'auto'}`))}
      ${fact(t('system.transport'), t(`system.transport.${link.transport ?? 'tab'}`))}
      ${fact(t('system.tabs'), num(count(link.tabs)))}
      ${fact(t('system.heartbeat'), num(span((link.heartbeat_ms ?? NaN) / 1_000)))}
      ${fact(t('system.cursor'), html`<code>${link.cursor ?? '–'}</code>`)}
      ${fact(t('system.topics'), (link.topics ?? []).map((topic) => html`<span class="tag">${topic}</span>`))}
      ${rows.map((name) => fact(t(`system.${name}`), html`<span class="num" data-counter=${name}>${count(counters[name])}</span>`))}
      ${fact(t('system.last_fault'), fault(app, link.last_fault))}
    </dl>`,
  });
}

function fault(app, last) {
  if (!last) return t('system.none_yet');
  const key = `system.fault.${last.what}`;
  const text = t(key) === key ? t('system.fault.other', { code: last.what }) : t(key);
  return html`${text}, ${num(clock(new Date(last.at).toISOString(), Date.now()))}`;
}

function clocks_card(app) {
  const { clock: daemon, hello } = app.store;
  const offset = daemon.offset_s();
  const now = daemon.now_ms();
  const words = offset === null ? '–' : Math.abs(offset) < IN_STEP_S ? t('system.offset.same')
    : t(offset > 0 ? 'system.offset.ahead' : 'system.offset.behind', { span: span(Math.abs(offset)) });
  return card('clocks', {
    title: t('system.clocks'),
    body: () => html`<dl class="facts wide">
      ${fact(t('system.box_time'), num(now === null ? '–' : clock(new Date(now).toISOString(), now)))}
      ${fact(t('system.offset'), num(words))}
      ${hello?.clock ? fact(t('box.clock'), chip('clock', hello.clock, { quiet: true })) : nothing}</dl>
      ${offset !== null && Math.abs(offset) > CLOCKS_DIFFER_S ? html`<p class="note" data-tone="warn" data-notice="clock">${t('system.clock_differs', { span: span(Math.abs(offset)) })}</p>` : nothing}
      ${hello?.clock === 'unsynced' ? html`<p class="note" data-tone="warn" data-notice="unsynced">${t('system.clock_unsynced')}</p>` : nothing}`,
  });
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
