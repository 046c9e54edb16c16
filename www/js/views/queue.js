// One queue: how far it is, what can be asked of it, its scans in their order, its log, and a new scan for it.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { Asking } from '../core/asking.js';
import { DASH, clock, count, span } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { LogBook } from '../core/log_book.js';
import { Remote } from '../core/remote.js';
import { act_button } from '../parts/act_button.js';
import { ask_button, asked_note } from '../parts/asked.js';
import { blocked_note } from '../parts/blocked.js';
import { card, empty } from '../parts/card.js';
import { badge, look } from '../parts/chip.js';
import { confirm } from '../parts/dialog.js';
import { icon } from '../parts/icon.js';
import { lab_commands } from '../parts/lab_commands.js';
import { points } from '../parts/lab_rows.js';
import { lab_tabs } from '../parts/lab_tabs.js';
import { log_card } from '../parts/log_card.js';
import { progress } from '../parts/progress.js';
import { queue_fields } from '../parts/queue_fields.js';
import { ScanAdd } from '../parts/scan_add.js';
import { age_tag, fact } from '../parts/value.js';
import { draft_of, lists, place, removable, waiting } from '../state/lab_queue.js';
import { queue_progress } from '../state/queues.js';

/** After this without news a move is shown as not done. */
const MOVED_MS = 5_000;

export function open(app, route, signal) {
  const page = new QueuePage(app, route.parts[0] ?? '', signal);
  return { title: () => page.entry()?.payload.name ?? page.id, draw: () => page.draw() };
}

class QueuePage {
  constructor(app, id, signal) {
    Object.assign(this, { app, id, signal });
    this.path = `api/queues/${encodeURIComponent(id)}`;
    this.asking = new Asking(app);
    this.asked = new Remote(app, `${this.path}/scans`, { signal });
    this.log = new LogBook(app, {
      path: `${this.path}/log`, signal,
      mine: ({ type, topic, payload }) => type === 'queue_log' && (topic === `queue/${id}` || payload.queue_id === id),
    });
    this.add = new ScanAdd(app, { queue_id: id, asking: this.asking, signal });
    this.moving = null;
    this.settings = null;
    app.connection.want([`queue/${id}`], { signal });
    this.asked.load();
  }

  entry() {
    return this.app.store.slices.queues.get(this.id);
  }

  draw() {
    const { app, id } = this;
    const entry = this.entry();
    return html`<div class="overview lab">
      ${lab_tabs('queues', app)}
      ${entry ? this.draw_queue(entry) : card('queue', { title: id, body: () => (app.store.complete ? html`<p class="empty" data-empty="unknown">${t('queue.unknown', { id })}</p>` : empty(app, '')) })}
    </div>`;
  }

  draw_queue(entry) {
    const p = entry.payload;
    const { order, ended } = lists(p, this.asked.body?.items ?? [], this.app.store.slices.scans);
    this.follow(p, order);
    return html`<div class="columns lab-wide">
      <div class="column">${this.state_card(entry, order)}${this.scans_card(p, order, ended)}</div>
      <div class="column">${log_card(this.app, this.log, { title: t('queue.log'), name: this.id })}${this.add_card()}${this.settings_card(p, order)}</div>
    </div>`;
  }

  /** What the list needs besides what comes by itself: scans of the order that nothing is known of. */
  follow(p, order) {
    if (this.moving && (p.order_version !== this.moving.version || performance.now() - this.moving.at > MOVED_MS)) {
      this.refocus = this.moving.focus;
      this.moving = null;
    }
    const unknown = order.some(({ scan }) => scan === null);
    if (unknown && this.asked_for !== p.order_version && this.asked.status === 'ok') {
      this.asked_for = p.order_version;
      this.asked.load();
    }
    if (this.refocus) requestAnimationFrame(() => this.focus_again());
  }

  /** A row that was moved keeps the focus of who moved it. */
  focus_again() {
    const { refocus } = this;
    this.refocus = null;
    if (!refocus || (document.activeElement && document.activeElement !== document.body)) return;
    const row = document.querySelector(`[data-scan="${CSS.escape(refocus.id)}"]`);
    (row?.querySelector(`[data-way="${refocus.way}"]:not([aria-disabled="true"])`) ?? row?.querySelector('[data-way]'))?.focus({ preventScroll: true });
  }

  state_card(entry, order) {
    const { app, id } = this;
    const p = entry.payload;
    const [tone, shape] = look('queue', p.status);
    const fresh = app.judge(entry);
    const next = waiting(order).length;
    return card('queue', {
      title: p.name ?? id,
      summary: age_tag(fresh),
      body: () => html`
        <div class="state" data-tone=${tone} data-status=${p.status} ?data-stale=${fresh.stale}>${icon(shape, 'state-icon')}
          <div><span class="state-word">${word('queue', p.status)}</span>${p.pending ? html`<strong data-tone="warn" data-pending=${p.pending}>${word('pending', p.pending)}</strong>` : nothing}
          ${p.pause_reason ? html`<span class="state-more">${word('pause_reason', p.pause_reason)}</span>` : nothing}</div></div>
        ${blocked_note(app, `queue/${id}`)}
        ${progress(queue_progress(p), { label: p.name ?? id, tone: p.status === 'running' ? 'good' : 'off' })}
        <dl class="facts below">
          ${fact(t('queue.done'), html`<span class="num">${t('queues.scans', { done: count(p.completed_scans), total: count(p.total_scans) })}</span>`)}
          ${fact(t('queue.waiting'), html`<span class="num">${count(next)}</span>`)}
          ${fact(t('lab.eta'), html`<span class="num">${typeof p.eta_s === 'number' && p.status === 'running' && !fresh.stale ? span(p.eta_s) : DASH}</span>`)}
          ${fact(t('queue.current'), p.current_scan ? html`<a class="row-link" href=${`#/scan/${encodeURIComponent(p.current_scan)}`}>${p.current_scan}</a>` : DASH)}
          ${p.failed_scans ? fact(t('scan.failed'), html`<strong data-tone="bad" class="num">${count(p.failed_scans)}</strong>`) : nothing}
          ${p.aborted_scans ? fact(t('scan.aborted'), html`<span class="num">${count(p.aborted_scans)}</span>`) : nothing}
        </dl>
        ${lab_commands(app, {
          kind: 'queue', id, payload: p, rows: [['start', 'pause', 'pause_after', 'resume'], ['stop', 'abort']],
          sure: { abort: { title: t('queue.abort_title', { name: p.name ?? id }), loss: p.current_scan ? t('queue.abort_loss', { scan: p.current_scan }) : t('queue.abort_loss_none'), action: t('queue.abort_confirm') } },
        })}`,
    });
  }

  // ---- its scans ----

  scans_card(p, order, ended) {
    const { asked, asking } = this;
    return card('scans', {
      title: t('queue.scans'),
      summary: html`<a class="link" href=${`#/scans?queue_id=${encodeURIComponent(this.id)}`}>${t('queue.all')}</a>`,
      body: () => html`
        ${asked_note(asking, 'move')}
        ${order.length ? html`<ol class="rows" data-order=${p.order_version}>${repeat(order, ({ id }) => id, ({ id, scan }, i) => this.scan(p, order, id, scan, i))}</ol>`
          : html`<p class="empty" data-empty="none">${asked.status === 'loading' && !this.app.store.complete ? t('empty.loading') : t('queue.empty')}</p>`}
        ${p.allowed_actions?.includes('clear') ? html`<div class="actions apart">${ask_button(this.app, asking, { name: 'clear', label: t('queue.clear'), doing: t('queue.removing'), shape: 'trash-2', tap: () => this.clear(p, order) })}</div>` : nothing}
        ${asked_note(asking, 'clear')}
        ${asked.status === 'error' ? html`<div class="empty" data-empty="error"><p>${t('empty.error', { reason: asked.reason })}</p><button type="button" class="button small" @click=${() => asked.load()}>${t('page.retry')}</button></div>` : nothing}
        ${ended.length ? html`<h3 class="card-sub">${t('queue.ended')}</h3><ul class="rows tight">${repeat(ended, ({ id }) => id, ({ id, scan }) => this.ended(id, scan))}</ul>` : nothing}`,
    });
  }

  scan(p, order, id, scan, i) {
    const current = id === p.current_scan;
    const fixed = scan?.status !== 'queued';
    const name = scan?.name ?? id;
    return html`<li class="row scan-line" data-scan=${id} data-status=${scan?.status ?? 'unknown'} ?data-current=${current} ?data-changed=${this.app.changes.of(`row/${id}`, `${scan?.status}/${scan?.pending}`)} aria-current=${current ? 'step' : nothing}>
      <div class="row-head"><span class="scan-name"><span class="muted num">${i + 1}</span><a class="row-name row-link" href=${`#/scan/${encodeURIComponent(id)}`}>${name}</a></span>${scan ? badge(this.app, 'scan', id, scan.status) : nothing}</div>
      <div class="row-sub"><span>${id}</span>${scan ? html`<span class="num">${points(scan)}</span>` : nothing}
        ${scan?.pending ? html`<strong data-tone="warn">${word('pending', scan.pending)}</strong>` : nothing}
        ${scan?.blocked_by ? html`<strong data-tone="warn">${scan.blocked_by}</strong>` : nothing}
        ${fixed && typeof scan?.eta_s === 'number' ? html`<span class="num">${t('time.left', { span: span(scan.eta_s) })}</span>` : nothing}</div>
      ${fixed && scan ? html`${progress(scan.progress, { label: name, tone: scan.status === 'running' ? 'good' : 'warn' })}${scan.message ? html`<p class="row-sub"><span class="clip">${scan.message}</span></p>` : nothing}` : nothing}
      ${fixed ? nothing : html`<div class="row-acts" role="group" aria-label=${t('queue.acts', { name: id })}>
        ${this.mover(p, order, id, 'up', 'arrow-up')}${this.mover(p, order, id, 'down', 'arrow-down')}${this.mover(p, order, id, 'front', 'chevron-up')}
        ${ask_button(this.app, this.asking, { name: `remove-${id}`, label: t('queue.remove'), doing: t('queue.removing'), shape: 'x', words: `${t('queue.remove')}: ${id}`, tap: () => this.remove(id, name) })}</div>`}
      ${asked_note(this.asking, `remove-${id}`)}
    </li>`;
  }

  mover(p, order, id, way, shape) {
    const to = place(order, id, way);
    const busy = this.moving?.focus.id === id && this.moving.focus.way === way;
    return act_button(this.app, {
      way, shape, busy, label: way === 'front' ? t('queue.move.front') : undefined, words: `${t(`queue.move.${way}`)}: ${id}`,
      blocked: this.moving ? t('queue.move.goes_on') : to === null ? t('queue.move.there') : null, tap: () => this.move(p, id, way, to),
    });
  }

  async move(p, id, way, to) {
    this.moving = { version: p.order_version, at: performance.now(), focus: { id, way } };
    const done = await this.asking.send('move', 'POST', `${this.path}/move`, { scan_id: id, ...to, order_version: p.order_version }, { refused: (error) => this.lost(error, 'queue.order_lost', p, { scan: id }) });
    if (!done) {
      this.moving = null;
      this.asked.load();
    }
  }

  /** Somebody else has changed the order: what it is now. */
  lost(error, words, p, more) {
    if (error.problem?.order_version === undefined && error.code !== 'order_version') return null;
    return { tone: 'warn', text: t(words, { ...more, was: p.order_version, now: error.problem.order_version ?? DASH, order: (error.problem.order ?? []).slice(0, 6).join(', ') }) };
  }

  /** Takes out what waits, as it was when the button was pressed: what comes in the meantime is not lost with it. */
  async clear(p, order) {
    const n = waiting(order).length;
    const loss = [t('queue.clear_loss', { n }), p.current_scan ? t('queue.clear_current', { scan: p.current_scan }) : ''].join(' ').trim();
    if (!(await confirm({ title: t('queue.clear_title', { name: p.name ?? this.id }), loss, action: t('queue.clear') }))) return;
    const done = await this.asking.send('clear', 'POST', `${this.path}/clear`, { order_version: p.order_version }, { refused: (error) => this.lost(error, 'queue.clear_lost', p) });
    if (done) this.asked.load();
  }

  async remove(id, name) {
    if (!(await confirm({ title: t('queue.remove_title', { name }), loss: t('queue.remove_loss', { id }), action: t('queue.remove') }))) return;
    if (await this.asking.send(`remove-${id}`, 'DELETE', `api/scans/${encodeURIComponent(id)}`)) this.asked.load();
  }

  ended(id, scan) {
    return html`<li class="row ended" data-scan=${id} data-status=${scan.status} ?data-changed=${this.app.changes.of(`row/${id}`, `${scan.status}/${scan.pending}`)}>
      <div class="row"><div class="row-head"><a class="row-name row-link" href=${`#/scan/${encodeURIComponent(id)}`}>${scan.name ?? id}</a>${badge(this.app, 'scan', id, scan.status)}</div>
        <div class="row-sub"><span>${id}</span><span class="num">${points(scan)}</span>${scan.ended_at ? html`<span class="num">${clock(scan.ended_at, this.app.store.clock.now_ms())}</span>` : nothing}
          ${scan.error ? html`<span class="clip">${scan.error}</span>` : nothing}</div></div>
      <div class="row-acts">${ask_button(this.app, this.asking, { name: `requeue-${id}`, label: t('scan.requeue'), doing: t('scan.requeueing'), shape: 'rotate-cw', words: `${t('scan.requeue')}: ${id}`, tap: () => this.requeue(id) })}</div>
      ${asked_note(this.asking, `requeue-${id}`)}
    </li>`;
  }

  async requeue(id) {
    const made = await this.asking.send(`requeue-${id}`, 'POST', `api/scans/${encodeURIComponent(id)}/requeue`, {}, { words: (scan) => t('scan.requeued', { id: scan.scan_id }) });
    if (made) this.asked.load();
  }

  // ---- a new scan, and the queue itself ----

  add_card() {
    return card('scan-add', { title: t('scan_add.title'), body: () => this.add.draw() });
  }

  settings_card(p, order) {
    const { app, asking, id } = this;
    const draft = this.settings ?? draft_of(p);
    const set = (changes) => { this.settings = { ...draft, ...changes }; app.ticker.now(); };
    const save = async () => {
      if (await asking.send('settings', 'PATCH', this.path, draft, { words: () => t('queue.saved') })) this.settings = null;
    };
    const remove = async () => {
      const n = waiting(order).length;
      if (!(await confirm({ title: t('queue.delete_title', { name: p.name ?? id }), loss: n ? t('queue.delete_loss', { n }) : t('queue.delete_loss_none'), action: t('queue.delete') }))) return;
      if (await asking.send('delete', 'DELETE', this.path)) location.hash = '#/queues';
    };
    return html`<details class="card fold" id="card-queue-settings"><summary><h2>${t('queue.settings')}</h2></summary><div class="card-body lab-form">
      ${queue_fields(draft, set)}
      <div class="actions">${ask_button(app, asking, { name: 'settings', label: t('queue.save'), shape: 'check', primary: this.settings !== null, blocked: this.settings === null ? t('queue.unchanged') : null, tap: save })}</div>
      ${asked_note(asking, 'settings')}
      <div class="actions apart">${ask_button(app, asking, { name: 'delete', label: t('queue.delete'), shape: 'trash-2', danger: true, blocked: removable(p) ? null : t('action.not_now', { state: word('queue', p.status) }), tap: remove })}</div>
      ${asked_note(asking, 'delete')}
      ${p.running_since ? html`<p class="hint num">${t('queue.running_since', { time: clock(p.running_since, app.store.clock.now_ms()) })}</p>` : nothing}
    </div></details>`;
  }
}
