// The recordings: a list with filters, kept up to date without a row moving; one of them open, with its player; the bin;
// the disk. What is filtered and what is open stands in the address.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { address, request } from '../core/api.js';
import { bytes, clock, count, duration, moment, number, span } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { Playback } from '../core/playback.js';
import { recall, remember } from '../core/preferences.js';
import { Many, OpenRecording, RecordingList, path_of, reason_of } from '../core/recordings.js';
import { rewrite } from '../core/router.js';
import { card } from '../parts/card.js';
import { begin_clip, clip_editor } from '../parts/clip_editor.js';
import { command_button, command_note } from '../parts/command_button.js';
import { ask, confirm } from '../parts/dialog.js';
import { filters } from '../parts/filters.js';
import { icon } from '../parts/icon.js';
import { failure, player, player_key, player_state, shown_pixels } from '../parts/player.js';
import { ORDERS, recording_row } from '../parts/recording_row.js';
import { storage_card } from '../parts/storage_bar.js';
import { fact } from '../parts/value.js';
import { NO_FILTER, PAGE, cleared, filter_query, filter_text, live_recordings, name_fault, narrowing, parse_filter, span_of, split_name } from '../state/recordings.js';

/** A typed filter is asked for after this pause. */
const TYPING_MS = 350;
const MOST_LABEL = 200;
const MEMORY = 'recordings';

export function open(app, route, signal) {
  const page = new Recordings(app, route);
  app.connection.want(['recordings'], { signal });
  app.store.listen((envelope) => {
    if (envelope.type === 'recording_changed') page.take(envelope.payload ?? {});
  }, signal);
  const keys = (event) => page.key(event);
  document.addEventListener('keydown', keys);
  signal.addEventListener('abort', () => {
    document.removeEventListener('keydown', keys);
    page.close();
  });
  return { title: () => page.title(), draw: () => page.draw(), move: (next) => page.move(next), page };
}

class Recordings {
  constructor(app, route) {
    this.app = app;
    const changed = () => app.ticker.mark();
    this.ctl = new RecordingList({ changed });
    this.many = new Many({ changed: () => app.ticker.now() });
    this.playback = new Playback({ changed: () => app.ticker.now() });
    this.now = () => this.playback.position_s;
    this.opened = null;
    this.open_id = null;
    this.clip = null;
    this.ui = player_state();
    this.markers_open = false;
    this.selected = new Set();
    this.anchor = null;
    this.filters_open = false;
    this.gaps = app.store.gaps.length;
    this.connected = true;
    const asked = [...route.query].length > 0;
    // A bare address is the list as it was left; one with filters is what it says.
    this.filter = asked ? parse_filter(route.query) : parse_filter(new URLSearchParams(recall(MEMORY) ?? ''));
    this.show_one(route.parts[0] ?? null);
    this.write();
    this.ctl.open(this.filter);
  }

  close() {
    clearTimeout(this.typing);
    clearTimeout(this.listening);
    this.ctl.close();
    this.opened?.close();
    this.playback.stop();
  }

  get list() {
    return this.ctl.list;
  }

  title() {
    const r = this.opened?.recording;
    return r ? r.label || r.name : t('nav.recordings');
  }

  // ---- the address ----

  address_of(id) {
    return `#/recordings/${encodeURIComponent(id)}${filter_text(this.filter)}`;
  }

  address_closed() {
    return `#/recordings${filter_text(this.filter)}`;
  }

  write() {
    rewrite(this.open_id ? this.address_of(this.open_id) : this.address_closed());
    remember(MEMORY, new URLSearchParams(filter_query({ ...this.filter, bin: false })).toString());
  }

  /** The address was changed, by a link or by going back. */
  move(route) {
    const filter = parse_filter(route.query);
    if (filter_text(filter) !== filter_text(this.filter)) this.refilter(filter);
    this.show_one(route.parts[0] ?? null);
    this.write();
    this.app.ticker.now();
  }

  set(changes, { typed = false } = {}) {
    const next = parse_filter(new URLSearchParams(filter_query({ ...this.filter, ...changes })));
    if (typed) {
      // What is typed is taken as it is; only the asking waits.
      this.filter = next;
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.refilter(this.filter), TYPING_MS);
    } else this.refilter(next);
    this.write();
    this.app.ticker.now();
  }

  clear() {
    this.refilter(cleared(this.filter));
    this.write();
  }

  refilter(filter) {
    clearTimeout(this.typing);
    this.filter = filter;
    this.selected.clear();
    this.ctl.open(filter);
    this.app.ticker.now();
  }

  // ---- the open one ----

  show_one(id) {
    if (id === this.open_id) return;
    this.opened?.close();
    this.playback.stop();
    clearTimeout(this.listening);
    this.clip = null;
    this.ui = { ...player_state(), gain: this.ui.gain };
    this.markers_open = false;
    this.open_id = id;
    this.opened = null;
    if (!id) return;
    const known = this.ctl.list.items.find((item) => item.recording_id === id);
    this.playback.load(id, known?.duration_s ?? null);
    this.playback.follow(Boolean(known?.growing));
    this.opened = new OpenRecording({
      id, known, pixels: shown_pixels(),
      changed: () => this.app.ticker.mark(),
      grown: ({ growing, duration_s }) => {
        this.playback.grown(duration_s);
        this.playback.follow(growing);
      },
    });
  }

  take(payload) {
    if (!payload.recording_id) return;
    this.ctl.take(payload);
    if (payload.recording_id === this.open_id) this.opened?.take(payload);
  }

  key(event) {
    const r = this.opened?.recording;
    if (r && !r.gone && player_key(event, this.playback, r)) this.app.ticker.now();
  }

  cut({ which, s }) {
    if (!this.clip) return;
    const end = this.playback.duration_s ?? Infinity;
    const to = Math.round(Math.min(end, Math.max(0, s)) * 100) / 100;
    this.clip = { ...this.clip, [`${which}_s`]: to, [`${which}_text`]: null };
    this.app.ticker.now();
  }

  listen_to({ start_s, end_s }) {
    if (start_s === null || end_s === null) return;
    clearTimeout(this.listening);
    this.playback.seek(start_s);
    this.playback.play();
    const watch = () => {
      if (!this.playback.playing && !this.playback.waiting) return;
      if (this.playback.position_s >= end_s - 0.02) this.playback.pause();
      else this.listening = setTimeout(watch, 50);
    };
    this.listening = setTimeout(watch, 250);
  }

  close_clip() {
    this.clip = null;
    this.app.ticker.now();
  }

  clipped(recording, overwrote) {
    if (!recording?.recording_id || !this.clip) return;
    this.clip = { ...this.clip, made: { recording, original_id: overwrote ? this.open_id : null } };
    if (overwrote) this.opened?.load();
    this.app.ticker.now();
  }

  // ---- many at once ----

  tapped(id) {
    this.anchor = id;
  }

  select(id, { checked, span: whole }) {
    const ids = whole && this.anchor ? span_of(this.list.items, this.anchor, id) : [id];
    for (const one of ids) {
      if (checked) this.selected.add(one);
      else this.selected.delete(one);
    }
    this.anchor = id;
    this.app.ticker.now();
  }

  select_all(checked) {
    this.selected = new Set(checked ? this.list.items.filter((r) => !r.gone).map((r) => r.recording_id) : []);
    this.app.ticker.now();
  }

  chosen() {
    return this.list.items.filter((r) => this.selected.has(r.recording_id) && !r.gone);
  }

  async do_many(action) {
    const chosen = this.chosen();
    if (!chosen.length || this.many.running) return;
    const amount = { n: chosen.length, size: bytes(chosen.reduce((sum, r) => sum + (r.bytes ?? 0), 0)) };
    if (action === 'bin' && !(await confirm({ title: t('many.bin.title', amount), loss: t('many.bin.loss', amount), action: t('many.bin.confirm') }))) return;
    if (action === 'purge' && !(await confirm({ title: t('many.purge.title', amount), loss: t('many.purge.loss', amount), action: t('many.purge.confirm') }))) return;
    const send = { pin: { method: 'PATCH', body: { pinned: true } }, unpin: { method: 'PATCH', body: { pinned: false } }, restore: { method: 'PATCH', body: { restore: true } }, bin: { method: 'DELETE' }, purge: { method: 'DELETE', query: '?purge=true' } }[action];
    await this.many.run(action, chosen.map((r) => r.recording_id), send);
    if (!this.many.state?.refused.length) this.selected.clear();
    this.app.ticker.now();
  }

  // ---- drawing ----

  draw() {
    this.notice_gaps();
    const { list, filter } = this;
    const inside = this.opened !== null && list.items.some((r) => r.recording_id === this.open_id);
    return html`<div class="overview recordings">
      <nav class="tabs" aria-label=${t('recordings.views')}>
        <a class="button" href="#/recordings" aria-current=${live(filter.bin ? 'false' : 'page')} @click=${(e) => this.turn(e, false)}>${icon('audio-waveform')}<span>${t('recordings.title')}</span></a>
        <a class="button" href="#/recordings?bin=true" aria-current=${live(filter.bin ? 'page' : 'false')} @click=${(e) => this.turn(e, true)}>${icon('trash-2')}<span>${t('recordings.bin')}${
          list.summary?.bin ? html` <span class="num">(${count(list.summary.bin.count)})</span>` : nothing}</span></a>
      </nav>
      ${filter.bin ? nothing : this.live_line()}
      ${this.opened && !inside ? this.apart() : nothing}
      ${card('recordings', {
        title: t(filter.bin ? 'recordings.bin' : 'recordings.title'),
        summary: this.summary(),
        body: () => html`${filters(this.app, this)}${this.bar()}${this.rows(inside)}${this.many_bar()}${this.pager()}${filter.bin ? this.empty_bin() : nothing}`,
      })}
      ${list.summary ? storage_card(this.app, list.summary, () => this.ctl.newest()) : nothing}
    </div>`;
  }

  turn(event, bin) {
    event.preventDefault();
    if (this.filter.bin === bin) return;
    this.refilter({ ...NO_FILTER, bin, sort: this.filter.sort });
    this.write();
  }

  notice_gaps() {
    const { store } = this.app;
    if (store.gaps.length !== this.gaps || (store.gaps.at(-1) ?? null) !== (this.last_gap ?? null)) {
      this.gaps = store.gaps.length;
      this.last_gap = store.gaps.at(-1);
      if (this.list.status !== 'loading') this.ctl.missed();
    }
    const up = store.connected();
    // Back again after a loss: what failed is asked for anew.
    if (up && !this.connected) {
      if (this.list.status === 'error') this.ctl.again();
      if (this.opened?.error) this.opened.load();
    }
    this.connected = up;
  }

  summary() {
    const { list } = this;
    if (list.total === null) return null;
    return html`<span class="num" data-total=${list.total}>${t(narrowing(this.filter) ? 'recordings.matching' : 'recordings.total', { n: list.total, count: count(list.total), size: bytes(list.bytes) })}</span>`;
  }

  /** One line of fixed height: what is being recorded at this moment. */
  live_line() {
    const now = live_recordings(this.list);
    const [first] = now;
    const app = this.app;
    return html`<p class="live-line" data-live=${now.length}>${first ? html`<span class="chip" data-tone="bad">${icon('circle-dot')}<span>${t('recordings.live')}</span></span>
      <a class="live-name" href=${this.address_of(first.recording_id)}>${first.label || first.name}</a>
      <span class="num" data-live-length>${live_length(app, first)}</span><span class="num muted">${bytes(first.bytes)}</span>
      ${now.length > 1 ? html`<span class="muted">${t('list.more', { n: now.length - 1 })}</span>` : nothing}`
      : html`<span class="muted">${t('recordings.none_live')}</span>`}</p>`;
  }

  /** Above the rows, always as high: all of them, and those that are new. */
  bar() {
    const { list } = this;
    const chosen = this.chosen();
    const all = list.items.length > 0 && chosen.length === list.items.filter((r) => !r.gone).length;
    return html`<div class="list-bar">
      <label class="rec-check"><input type="checkbox" data-select-all .checked=${live(all && chosen.length > 0)} .indeterminate=${live(chosen.length > 0 && !all)} @click=${(e) => this.select_all(e.target.checked)}><span>${t('recordings.select_all')}</span></label>
      <span class="busy muted">${this.ctl.busy && list.status === 'ready' ? t('recordings.loading') : nothing}</span>
      ${list.fresh.size || list.missed ? html`<button type="button" class="button primary" data-fresh=${list.fresh.size} @click=${() => this.ctl.newest()}>${icon('arrow-up')}<span>${
        list.fresh.size ? t('recordings.fresh', { n: list.fresh.size }) : t('recordings.missed')}</span></button>` : nothing}
    </div>`;
  }

  /** What can be done to those selected: over the foot of the list, so that no row moves. */
  many_bar() {
    const { many } = this;
    const chosen = this.chosen();
    if (!chosen.length && !many.state) return nothing;
    const size = bytes(chosen.reduce((sum, r) => sum + (r.bytes ?? 0), 0));
    const { bin } = this.filter;
    const may = this.app.store.may_operate();
    const button = (action, shape, label, danger = false) => html`<button type="button" class="button ${danger ? 'danger' : ''}" data-many=${action} aria-disabled=${many.running || !may ? 'true' : 'false'} title=${may ? nothing : t('action.no_role')}
      @click=${() => may && this.do_many(action)}>${icon(shape)}<span>${label}</span></button>`;
    return html`<section class="many" aria-label=${t('many.label')}>
      ${chosen.length ? html`<p class="many-head"><strong class="num" data-chosen=${chosen.length}>${t('recordings.selected', { n: chosen.length, size })}</strong>
        <button type="button" class="button small" data-many="none" @click=${() => this.select_all(false)}>${icon('x')}<span>${t('many.none')}</span></button></p>
      <div class="many-actions">
        ${bin ? nothing : html`<a class="button" data-many="zip" download href=${address('api/recordings/archive.zip', { ids: chosen.map((r) => r.recording_id).join(',') })}>${icon('download')}<span>${t('many.zip')}</span></a>`}
        ${bin ? button('restore', 'undo-2', t('action.restore')) : html`${button('pin', 'pin', t('action.pin'))}${button('unpin', 'pin-off', t('action.unpin'))}`}
        ${bin ? button('purge', 'trash-2', t('action.purge'), true) : button('bin', 'trash-2', t('action.bin'), true)}</div>` : nothing}
      ${this.many_note()}</section>`;
  }

  many_note() {
    const { state } = this.many;
    if (!state) return nothing;
    const figures = { n: state.total, done: count(state.done), total: count(state.total), what: t(`action.${state.action}`) };
    if (state.running) return html`<p class="note" data-tone="busy" role="status"><span class="spinner" aria-hidden="true"></span><span>${t('many.running', figures)}</span></p>`;
    const refused = state.refused.slice(0, 3).map(({ id, reason }) => `${this.list.items.find((r) => r.recording_id === id)?.name ?? id}: ${failure(reason)}`).join('; ');
    const [tone, shape] = state.refused.length ? ['bad', 'circle-x'] : ['good', 'check'];
    return html`<p class="note" data-tone=${tone} data-many-done=${state.done} role="status">${icon(shape)}<span>${t('many.done', figures)}${state.refused.length ? ` ${refused}` : ''}</span>
      <button type="button" class="button small" @click=${() => this.many.dismiss()}>${t('action.dismiss')}</button></p>`;
  }

  rows(inside) {
    const { list, app } = this;
    if (list.status === 'error' && list.error.type === 'no_recordings') {
      return html`<p class="empty" data-empty="none">${t('recordings.none')}</p>`;
    }
    if (list.status === 'error') {
      return html`<div class="empty" data-empty="error"><p>${t('recordings.failed', { reason: failure(list.error) })}</p>
        <button type="button" class="button" @click=${() => this.ctl.again()}>${icon('refresh-cw')}<span>${t('page.retry')}</span></button></div>`;
    }
    if (list.status === 'loading') return html`<p class="empty" data-empty="loading">${t('recordings.loading')}</p>`;
    if (!list.items.length) {
      if (narrowing(this.filter)) {
        return html`<div class="empty" data-empty="filter"><p>${t('recordings.no_match')}</p>
          <button type="button" class="button" data-clear @click=${() => this.clear()}>${icon('x')}<span>${t('filters.clear')}</span></button></div>`;
      }
      return html`<p class="empty" data-empty="none">${this.filter.bin ? t('recordings.bin_none') : list.summary?.folder ? t('recordings.none_in', { folder: list.summary.folder }) : t('recordings.none')}</p>`;
    }
    return html`<ul class="recs" aria-busy=${this.ctl.busy ? 'true' : 'false'}>${repeat(list.items.slice(0, PAGE), (r) => r.recording_id, (r) => recording_row(app, this, r, () => (inside ? this.open_body() : nothing)))}</ul>`;
  }

  pager() {
    const { ctl, list } = this;
    if (list.status !== 'ready' || !list.items.length) return nothing;
    const last = ctl.first + list.items.length - 1;
    const go = (what) => () => {
      this.selected.clear();
      what()?.then(() => document.getElementById('card-recordings')?.scrollIntoView({ block: 'start' }));
    };
    const off = (no) => (no || ctl.busy ? 'true' : 'false');
    return html`<nav class="pager" aria-label=${t('recordings.pages')}>
      <span class="num" data-range>${t('recordings.range', { first: count(ctl.first), last: count(last), total: count(Math.max(list.total ?? 0, last)) })}</span>
      <span class="pair"><button type="button" class="button" data-page="previous" aria-disabled=${off(!ctl.before.length)} @click=${go(() => ctl.previous())}>${icon('chevron-left')}<span>${t('recordings.previous')}</span></button>
      <button type="button" class="button" data-page="next" aria-disabled=${off(!list.next)} @click=${go(() => ctl.next())}><span>${t('recordings.next')}</span>${icon('chevron-right')}</button></span>
      ${this.filter.bin || !list.total ? nothing : html`<a class="button" data-zip-all download href=${address('api/recordings/archive.zip', filter_query(this.filter))}>${icon('download')}<span>${
        t(narrowing(this.filter) ? 'recordings.zip_matching' : 'recordings.zip_all', { count: count(list.total), size: bytes(list.bytes) })}</span></a>`}
    </nav>`;
  }

  empty_bin() {
    const bin = this.list.summary?.bin;
    if (!bin?.count) return nothing;
    const order = { target: 'recordings', action: 'empty', path: 'api/recordings/bin/empty', body: { confirm: true }, done: () => this.ctl.newest() };
    const amount = { n: bin.count, count: count(bin.count), size: bytes(bin.bytes) };
    return html`<div class="actions apart">${command_button(this.app, { order, label: t('action.empty'), shape: 'trash-2', destructive: { title: t('bin.empty.title'), loss: t('bin.empty.loss', amount), action: t('bin.empty.confirm') } })}</div>
      ${command_note(this.app, { order })}`;
  }

  /** The open one, where the list does not have it: another page, another filter, or a link from elsewhere. */
  apart() {
    const r = this.opened.recording;
    return card('opened', {
      title: r ? r.label || r.name : t('recordings.one'),
      summary: html`<a class="button small" href=${this.address_closed()} data-close>${icon('x')}<span>${t('recordings.close')}</span></a>`,
      body: () => this.open_body(),
    });
  }

  open_body() {
    const { app, opened } = this;
    const r = opened.recording;
    if (opened.status === 'unknown') return html`<p class="empty" data-empty="unknown">${t('recordings.unknown')}</p>`;
    if (!r) {
      return opened.status === 'error' ? html`<div class="empty" data-empty="error"><p>${t('recordings.failed', { reason: failure(opened.error) })}</p><button type="button" class="button" @click=${() => opened.again()}>${t('page.retry')}</button></div>`
        : html`<p class="empty" data-empty="loading">${t('recordings.loading')}</p>`;
    }
    if (r.gone) return html`<p class="empty">${t('recordings.gone_words')}</p>`;
    const orders = Object.fromEntries(Object.entries(ORDERS).map(([name, make]) => [name, make(r)]));
    return html`<div class="rec-open" data-opened=${r.recording_id}>
      ${player(app, this, () => (this.clip ? clip_editor(app, this) : nothing))}
      ${r.binned_at ? this.binned_actions(r, orders) : this.actions(r, orders)}
      <div class="notes">${Object.values(orders).map((order) => command_note(app, { order }))}</div>
      ${this.facts(r)}
    </div>`;
  }

  actions(r, orders) {
    const { app } = this;
    const name = r.label || r.name;
    const may = app.store.may_operate();
    const plain = (key, shape, label, act) => html`<button type="button" class="button" data-key=${key} aria-disabled=${may ? 'false' : 'true'} title=${may ? nothing : t('action.no_role')} @click=${() => may && act()}>${icon(shape)}<span>${label}</span></button>`;
    return html`<div class="actions rec-actions">
        <a class="button" data-key="download" download href=${address(path_of(r.recording_id, '/audio'), { download: 'true' })}>${icon('download')}<span>${t('recordings.download')}</span></a>
        ${command_button(app, { order: orders[r.pinned ? 'unpin' : 'pin'], label: t(r.pinned ? 'action.unpin' : 'action.pin'), shape: r.pinned ? 'pin-off' : 'pin' })}
        ${plain('label', 'tag', t('action.label'), () => this.relabel(r))}
        ${plain('rename', 'pencil', t('action.rename'), () => this.rename(r))}
        ${(r.extension ?? '').toLowerCase() === 'wav' && !r.growing ? plain('clip', 'scissors', t('action.clip'), () => {
          this.clip = this.clip ? null : begin_clip(r, this.playback.position_s, this.playback.duration_s);
          app.ticker.now();
          // The ends are dragged on the waveform: it has to be in sight.
          if (this.clip) document.querySelector('wave-form')?.scrollIntoView({ block: 'start' });
        }) : nothing}
      </div>
      <div class="actions apart">${command_button(app, { order: orders.bin, label: t('action.bin'), shape: 'trash-2', blocked: r.pinned ? t('recordings.bin_pinned') : r.growing ? t('recordings.bin_growing') : null, name })}
        ${r.pinned ? html`<p class="hint">${t('recordings.bin_pinned')}</p>` : nothing}</div>`;
  }

  binned_actions(r, orders) {
    const { app } = this;
    const name = r.label || r.name;
    const loss = { title: t('purge.title', { name }), loss: t('purge.loss', { length: duration(r.duration_s), size: bytes(r.bytes) }), action: t('purge.confirm') };
    return html`<p class="hint">${t('recordings.binned_since', { time: clock(r.binned_at, app.store.clock.now_ms()) })}</p>
      <div class="actions rec-actions">${command_button(app, { order: orders.restore, label: t('action.restore'), shape: 'undo-2', primary: true, name })}
        <a class="button" data-key="download" download href=${address(path_of(r.recording_id, '/audio'), { download: 'true' })}>${icon('download')}<span>${t('recordings.download')}</span></a></div>
      <div class="actions apart">${command_button(app, { order: orders.purge, label: t('action.purge'), shape: 'trash-2', destructive: loss, blocked: r.pinned ? t('recordings.bin_pinned') : null, name })}</div>`;
  }

  facts(r) {
    const now = this.app.store.clock.now_ms();
    const format = [r.extension?.toUpperCase(), r.sample_rate ? `${number(r.sample_rate / 1_000)} kHz` : null, r.bits ? `${r.bits} bit` : null, r.channels ? t('recordings.channels', { n: r.channels }) : null].filter(Boolean).join(', ');
    return html`<dl class="facts below">
      ${fact(t('recordings.started'), html`<span class="num">${moment(r.started_at, now)}</span>`)}
      ${fact(t('recordings.length'), html`<span class="num">${duration(r.duration_s)}</span>`)}
      ${fact(t('recordings.size'), html`<span class="num">${bytes(r.bytes)}</span>`)}
      ${fact(t('recordings.format'), format || '–')}
      ${fact(t('recorder.triggers'), r.triggers?.length ? r.triggers.map((name) => html`<span class="tag">${word('trigger', name)}</span>`) : t('recorder.no_triggers'))}
      ${r.end_reason ? fact(t('recordings.end_reason'), r.end_reason) : nothing}
      ${r.recorder_id ? fact(t('recorder.title'), html`<a class="fact-link" href=${`#/recorder/${encodeURIComponent(r.recorder_id)}`}>${r.recorder_id}</a>`) : nothing}
      ${fact(t('recordings.file'), html`<code>${r.path ?? r.name}</code>`)}
    </dl>
    ${r.transcript ? html`<h3 class="card-sub">${t('recordings.transcript')}</h3><p class="transcript">${r.transcript}</p>` : nothing}`;
  }

  relabel(r) {
    return ask({
      title: t('label.title', { name: r.name }), label: t('label.label'), value: r.label ?? '', hint: t('label.hint'), most: MOST_LABEL, action: t('action.save'), doing: t('action.save.doing'), reason: (e) => failure(reason_of(e)),
      submit: async (text) => this.patched(await request('PATCH', path_of(r.recording_id), { label: text || null })),
    });
  }

  rename(r) {
    const [stem, end] = split_name(r.name, r.extension);
    return ask({
      title: t('rename.title'), label: t('rename.label'), value: stem, suffix: end, hint: t('rename.hint'), most: 120, action: t('action.rename'), doing: t('action.rename.doing'), reason: (e) => failure(reason_of(e)),
      fault: (text) => { const wrong = name_fault(text); return wrong ? t(`rename.fault.${wrong}`) : null; },
      submit: async (text) => this.patched(await request('PATCH', path_of(r.recording_id), { name: `${text}${end}`, if_name: r.name })),
    });
  }

  /** The answer counts at once; the event that follows says the same. */
  patched({ body }) {
    if (body?.recording_id) this.take({ recording_id: body.recording_id, change: 'read', recording: body });
  }
}

function live_length(app, r) {
  const began = Date.parse(r.started_at ?? '');
  const now = app.store.clock.now_ms();
  if (!app.store.connected() || Number.isNaN(began) || now === null) return span(r.duration_s);
  const runs = Math.max(0, (now - began) / 1_000);
  return duration(runs - (r.duration_s ?? 0) < 30 ? runs : r.duration_s);
}
