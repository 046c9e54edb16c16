// The wiring of the page: preferences, store, connection, router, the shell, and the tick that draws them.

import { html } from '../vendor/lit-html/lit-html.js';
import { live } from '../vendor/lit-html/directives/live.js';
import { address } from './core/api.js';
import { Commands } from './core/commands.js';
import { Connection } from './core/connection.js';
import { Ticker, announce, draw, style } from './core/dom.js';
import * as i18n from './core/i18n.js';
import { Preferences } from './core/preferences.js';
import { Router } from './core/router.js';
import { Store } from './core/store.js';
import { banners } from './parts/banner.js';
import { look } from './parts/chip.js';
import { icon, load_icons } from './parts/icon.js';
import { calling } from './state/alerts.js';
import { Changes } from './state/changes.js';
import { LIMIT_S, judge } from './state/freshness.js';
import { recording_names } from './state/recorders.js';
import { VIEWS } from './views/table.js';

const { t } = i18n;
/** After the first page has what it needs. */
const PRELOAD_MS = 3_000;
const place = (id) => document.getElementById(id);

/** What views and parts are given. */
export class App {
  constructor() {
    this.preferences = new Preferences();
    this.ticker = new Ticker(() => this.draw());
    this.alarm = null;
    this.store = new Store({
      changed: () => {
        this.ticker.mark();
        this.alarm?.check();
      },
    });
    this.commands = new Commands({ store: this.store, changed: () => this.ticker.now() });
    this.connection = new Connection({
      settings: this.link_settings(),
      tell: { items: (items) => this.store.take(items), status: (status) => this.status(status) },
    });
    this.router = new Router({ table: VIEWS, app: this, show: (page) => this.show(page) });
    this.page = { name: 'overview', view: null, error: null };
    this.at = '';
    /** What becomes another while this page is looked at. */
    this.changes = new Changes();
    this.dismissed_gap = null;
    this.attention_open = false;
  }

  async start() {
    this.apply_theme();
    await Promise.allSettled([this.apply_language(), load_icons()]);
    this.ticker.start();
    addEventListener('storage', () => this.take_preferences());
    this.ready_alarm();
    // The first view says what it wants before the stream is opened, so that it is opened once.
    await this.router.start();
    this.connection.start();
    document.documentElement.dataset.ready = '';
    setTimeout(() => this.preload(), PRELOAD_MS);
  }

  /**
   * A page not yet loaded could not be opened while the box is away. One file at a time: what a half-open connection
   * swallows can't be called back, and the browser has only six connections to one host.
   */
  async preload() {
    try {
      const { LATER } = await import('./views/later.js');
      for (const file of LATER) {
        await this.connected();
        await (file.endsWith('.css') ? style(file) : import(address(file)));
      }
      for (const row of VIEWS) await row.load();
    } catch {
      // It is loaded when it is opened.
    }
  }

  async connected() {
    while (this.store.lost_at !== null) await new Promise((resolve) => setTimeout(resolve, PRELOAD_MS));
  }

  /** How fresh an entry is at this moment; see state/freshness.js. */
  judge(entry, limit_s) {
    const { store } = this;
    return judge(entry, { mono: store.clock.mono(), epoch: store.epoch(), connected: store.connected(), limit_s });
  }

  /** Changes a preference, at once and for next time. */
  async choose(name, value) {
    this.preferences.set(name, value);
    if (name === 'theme') this.apply_theme();
    if (name === 'language') await this.apply_language();
    if (name === 'mode' || name === 'poll_ms') this.connection.set(this.link_settings());
    await this.ready_alarm();
    this.ticker.now();
  }

  /** What another tab of this browser has chosen. */
  take_preferences() {
    this.preferences.load();
    this.apply_theme();
    this.ready_alarm();
    this.ticker.now();
  }

  /** Sound and notifications come only for who wants them. */
  async ready_alarm() {
    if (this.alarm || !(this.preferences.get('sound') || this.preferences.get('notify'))) return;
    const { Alarm } = await import('./core/alarm.js');
    this.alarm ??= new Alarm(this);
    this.alarm.check();
  }

  link_settings() {
    return { mode: this.preferences.get('mode'), poll_ms: this.preferences.get('poll_ms') };
  }

  apply_theme() {
    document.documentElement.dataset.theme = this.preferences.get('theme');
  }

  async apply_language() {
    await i18n.use(i18n.choose(this.preferences.get('language')));
    document.documentElement.lang = i18n.current();
  }

  status(status) {
    const before = this.store.link.status;
    this.store.take_status(status);
    if (status.status === before) return;
    announce(`${t('conn.label')}: ${t(`conn.${status.status}`)}`);
    this.ticker.now();
  }

  show(page) {
    const moved = page.name !== this.page.name;
    if (!page.view) this.changes = new Changes();
    this.page = page;
    this.at = location.hash.replace(/^#\/?|\?.*$/g, '');
    if (moved) {
      scrollTo(0, 0);
      if (document.activeElement?.closest('nav') === null) place('main').focus({ preventScroll: true });
    }
    this.ticker.now();
  }

  // ---- the shell ----

  draw() {
    const waiting = calling(this.store.slices.alerts, this.store.clock.now_ms());
    draw(() => html`${bell(waiting)}${chip(this.store.link.status)}`, place('chip'));
    draw(() => nav(this.page.name), place('nav'));
    draw(() => banners(this), place('banners'));
    draw(() => main(this), place('main'));
    place('main').dataset.page = this.page.view ? this.page.name : '';
    place('main').dataset.at = this.page.view ? this.at : '';
    place('skip').textContent = t('page.stay');
    place('nav').setAttribute('aria-label', t('nav.label'));
    document.documentElement.toggleAttribute('data-lost', !this.store.connected());
    // Which box this is: whoever has several tells them apart by the name in their configuration.
    const box = this.store.slices.health.config?.payload.name || 'telltale';
    if (place('box').textContent !== box) place('box').textContent = box;
    const recording = recording_names(this.store.slices.recorders, (entry) => !this.judge(entry, LIMIT_S.recorder).stale);
    const rec = recording.length ? `● REC ${recording.join(', ')} · ` : '';
    const title = `${waiting.count ? `(${waiting.count}) ` : ''}${rec}${this.page.view?.title() ?? t(`nav.${this.page.name}`)} · ${box}`;
    if (document.title !== title) document.title = title;
  }
}

function chip(status) {
  const [tone, shape] = look('conn', status);
  return html`<a class="chip conn" href="#/system" data-conn=${status} data-tone=${tone} aria-label=${`${t('conn.label')}: ${t(`conn.${status}`)}`}
    >${icon(shape)}<span>${t(`conn.${status}`)}</span></a>`;
}

/** Open alerts, on every page; without any it is still the way to their page. */
function bell({ count, worst }) {
  const [tone, shape] = count ? look('alert', worst) : ['off', 'bell'];
  return html`<a class="chip bell" href="#/alerts" data-tone=${tone} data-open=${count}
    aria-label=${count ? t('bell.open', { n: count }) : t('bell.none')}>${icon(shape)}${count ? html`<span class="num">${count}</span>` : ''}</a>`;
}

function nav(name) {
  const current = VIEWS.find((row) => row.name === name)?.under ?? name;
  return VIEWS.filter((row) => row.nav && row.nav !== 'more').map((row) => html`<a href=${`#/${row.name}`} data-nav=${row.nav} aria-current=${live(row.name === current ? 'page' : 'false')}
    >${icon(row.icon)}<span>${t(`nav.${row.menu ?? row.name}`)}</span></a>`);
}

function main(app) {
  const { name, view, error } = app.page;
  const heading = html`<h1 class="visually-hidden">${view?.title() ?? t(`nav.${name}`)}</h1>`;
  if (view) return html`${heading}${view.draw()}`;
  if (!error) return html`${heading}<p class="empty" data-empty="loading">${t('page.loading')}</p>`;
  return html`${heading}<div class="empty" data-empty="error"><p>${t('page.failed', { reason: error.message })}</p>
    <button type="button" class="button" @click=${() => app.router.go()}>${t('page.retry')}</button></div>`;
}

export const app = new App();
app.start();
