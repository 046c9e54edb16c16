// One instrument: every channel with its limits, what can be set and moved, a stop that is always there, its settings, its
// error. While a scan has it, nothing but stopping and clearing an error is offered, and the page says who has it.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { random_id } from '../core/api.js';
import { Asking } from '../core/asking.js';
import { clock, measure, unit as unit_text } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { Remote } from '../core/remote.js';
import { ask_button } from '../parts/asked.js';
import { blocked_note } from '../parts/blocked.js';
import { card, empty } from '../parts/card.js';
import { command_button, command_note } from '../parts/command_button.js';
import { icon } from '../parts/icon.js';
import { dot, moving_reading, range } from '../parts/instrument.js';
import { lab_tabs } from '../parts/lab_tabs.js';
import { beyond_words, limits_words } from '../parts/scan_add.js';
import { tree } from '../parts/tree.js';
import { age_tag } from '../parts/value.js';
import { LIMIT_S } from '../state/freshness.js';
import { channel_rows, error_key, is_moving, setting_of } from '../state/motion.js';

const ANSWERS = 20;

export function open(app, route, signal) {
  const page = new InstrumentPage(app, route.parts[0] ?? '', signal);
  return { title: () => page.entry()?.payload.instrument_name || page.id, draw: () => page.draw() };
}

class InstrumentPage {
  constructor(app, id, signal) {
    Object.assign(this, { app, id, signal });
    this.path = `api/instruments/${encodeURIComponent(id)}`;
    this.asking = new Asking(app);
    this.typed = new Map();
    this.hidden_error = null;
    this.query = '';
    this.answers = [];
    // Which commands it takes: that is not part of its state.
    this.told = new Remote(app, this.path, { signal });
    this.asked_connected = false;
    app.connection.want([`instrument/${id}`], { signal });
    app.store.listen((envelope) => this.event(envelope), signal);
  }

  entry() {
    return this.app.store.slices.instruments.get(this.id);
  }

  /** Answers of queries come with the result of their command. */
  event({ type, topic, payload }) {
    if (type !== 'command_result' || topic !== `instrument/${this.id}` || payload.action !== 'query') return;
    const asked = this.answers.find((a) => a.id === payload.command_id);
    if (asked) Object.assign(asked, { answer: payload.reason ?? word('command', payload.state), bad: payload.state !== 'completed' });
  }

  /** Whether it can be brought to a safe state. Asked for again after a time without a connection: the box may be set up otherwise. */
  may_be_safe() {
    const connected = this.app.store.connected();
    if (connected && !this.asked_connected) this.told.load();
    this.asked_connected = connected;
    return this.told.body?.actions?.includes('safe') === true;
  }

  draw() {
    const { app, id } = this;
    const entry = this.entry();
    if (!entry) {
      return html`<div class="overview lab">${lab_tabs('instruments', app)}${card('instrument', { title: id, body: () => (app.store.complete ? html`<p class="empty" data-empty="unknown">${t('instrument.unknown', { id })}</p>` : empty(app, '')) })}</div>`;
    }
    const p = entry.payload;
    // A new error is shown, also after one was put away.
    if (!p.error) this.hidden_error = null;
    const settable = channel_rows(p).filter((r) => r.settable);
    return html`<div class="overview lab">
      ${lab_tabs('instruments', app)}
      <div class="columns lab-wide">
        <div class="column">${this.state_card(entry)}${this.channels_card(entry)}</div>
        <div class="column">${settable.length ? this.set_card(p, settable) : nothing}${this.query_card(p)}${this.settings_card(p)}</div>
      </div>
    </div>`;
  }

  order(verb, body, key = verb) {
    return { target: `instrument/${this.id}`, action: key, verb, path: `${this.path}/${verb}`, body };
  }

  /** Why it can't be driven now. */
  taken(p) {
    return p.used_by ? t('instrument.in_use', { who: p.used_by }) : p.status === 'disconnected' ? t('instrument.away') : null;
  }

  state_card(entry) {
    const { app, id } = this;
    const p = entry.payload;
    const moving = is_moving(p);
    const stop = this.order('stop');
    const clear = this.order('clear_error');
    const safe = this.order('safe');
    const may_be_safe = this.may_be_safe();
    const fresh = app.judge(entry, LIMIT_S.instrument);
    return card(`instrument-${id}`, {
      title: p.instrument_name || id,
      summary: age_tag(fresh),
      body: () => html`
        ${dot(p, fresh)}
        ${blocked_note(app, `instrument/${id}`)}
        ${p.used_by ? html`<p class="note" data-tone="busy" data-in-use>${icon('info')}<span>${/^SCAN/.test(p.used_by) || app.store.slices.scans.has(p.used_by) ? html`<a class="link" href=${`#/scan/${encodeURIComponent(p.used_by)}`}>${t('instrument.in_use', { who: p.used_by })}</a>` : t('instrument.in_use', { who: p.used_by })}</span></p>` : nothing}
        ${p.error && error_key(p) !== this.hidden_error ? html`<div class="note block" data-tone="bad" role="alert" data-error>${icon('octagon-alert')}<div><p><strong>${t('instrument.error')}</strong></p><p class="wrap">${p.error}</p>
          <div class="actions">${command_button(app, { order: clear, label: t('action.clear_error'), shape: 'check', name: p.instrument_name || id })}
            <button type="button" class="button" data-hide-error @click=${() => { this.hidden_error = error_key(p); app.ticker.now(); }}>${t('action.dismiss')}</button></div></div></div>` : nothing}
        ${command_note(app, { order: clear })}
        <div class="actions apart"><span class="stop-place" ?data-moving=${moving}>${command_button(app, { order: stop, label: t('action.stop'), shape: 'square', name: p.instrument_name || id })}</span>${may_be_safe ? command_button(app, { order: safe, label: t('action.safe'), shape: 'circle-pause', name: p.instrument_name || id }) : nothing}</div>
        ${command_note(app, { order: stop })}${command_note(app, { order: safe })}`,
    });
  }

  channels_card(entry) {
    const { app } = this;
    const rows = channel_rows(entry.payload);
    return card('channels', {
      title: t('instrument.channels'),
      body: () => (rows.length ? html`<ul class="rows">${repeat(rows, (r) => r.name, (r) => html`<li class="row channel" data-channel=${r.name} ?data-moving=${r.moving}>
          <dl class="channel-value">${moving_reading(app, entry, r)}</dl>
          ${range(r)}
          ${r.limits ? html`<p class="row-sub num">${limits_words(r)}</p>` : nothing}
          ${typeof r.target === 'number' && r.in_position !== undefined ? html`<p class="row-sub">${t(r.in_position ? 'instrument.arrived' : 'instrument.on_the_way')}</p>` : nothing}</li>`)}</ul>` : html`<p class="empty" data-empty="none">${t('instruments.no_values')}</p>`),
    });
  }

  // ---- set and move ----

  set_card(p, rows) {
    const taken = this.taken(p);
    return card('set', {
      title: t('instrument.set_title'),
      summary: taken ? html`<strong data-tone="warn">${taken}</strong>` : null,
      body: () => html`<ul class="rows">${repeat(rows, (r) => r.name, (r) => this.setter(p, r, taken))}</ul>`,
    });
  }

  setter(p, r, taken) {
    const { app, typed } = this;
    const moves = p.kind === 'movement' && r.name in (p.position ?? {});
    const text = typed.get(r.name) ?? '';
    const wanted = setting_of(text, r);
    const key = `set.${r.name}`;
    const set = (value) => { typed.set(r.name, value); app.ticker.now(); };
    const order = this.order(moves ? 'move' : 'set', () => (moves ? { target: { [r.name]: setting_of(typed.get(r.name), r).value } } : { channel: r.name, value: setting_of(typed.get(r.name), r).value }), key);
    const fault = wanted.fault === 'number' ? t('scan_add.no_number') : wanted.fault ? beyond_words(wanted.fault, r.unit) : null;
    const unit = r.unit ? ` (${unit_text(r.unit)})` : '';
    const id = `set-${r.name}`;
    const blocked = taken ?? fault ?? (wanted.value === undefined ? t('instrument.type_first') : null);
    return html`<li class="row" data-set=${r.name}>
      <div class="set-line"><div class="field-box"><label class="field" for=${id}><span>${r.name}${unit}</span></label>${r.words.length ? html`<select id=${id} @change=${(e) => set(e.target.value)}><option value="" .selected=${!text}>${t('scan_add.choose')}</option>${r.words.map((w) => html`<option value=${w} .selected=${w === text}>${w}</option>`)}</select>`
        : html`<input id=${id} type="text" inputmode="decimal" autocomplete="off" spellcheck="false" maxlength="40" placeholder=${typeof r.value === 'number' ? measure(r.value) : nothing} aria-invalid=${fault ? 'true' : 'false'} aria-describedby=${`${id}-note`} .value=${live(text)} @input=${(e) => set(e.target.value)}>`}</div>
        ${command_button(app, { order, label: t(moves ? 'instrument.move' : 'instrument.set'), shape: moves ? 'move' : 'check', blocked, name: r.name })}</div>
      <div id=${`${id}-note`}>${fault ? html`<p class="field-fault" data-tone="bad">${icon('circle-x')}<span>${fault}</span></p>` : r.limits ? html`<p class="hint num">${limits_words(r)}</p>` : nothing}</div>
      ${command_note(app, { order })}
    </li>`;
  }

  // ---- raw text ----

  query_card(p) {
    const { app, asking } = this;
    const taken = this.taken(p);
    const send = async (event) => {
      event?.preventDefault();
      const text = this.query.trim();
      if (!text || taken) return;
      const asked = { id: random_id(), text, answer: null, bad: false };
      this.answers = [...this.answers.slice(1 - ANSWERS), asked];
      const answer = await asking.send('query', 'POST', `${this.path}/query`, { text, command_id: asked.id });
      if (!answer) Object.assign(asked, { answer: asking.notes.get('query')?.reason ?? t('action.unsent'), bad: true });
      else if (answer.state === 'completed') asked.answer ??= answer.reason ?? word('command', answer.state);
      asking.dismiss('query');
    };
    return html`<details class="card fold" id="card-query"><summary><h2>${t('instrument.query_title')}</h2></summary><div class="card-body">
      <form class="set-line" @submit=${send}><div class="field-box"><label class="field" for="query-text"><span>${t('instrument.query')}</span></label><input id="query-text" type="text" autocomplete="off" autocapitalize="off" spellcheck="false" maxlength="500" .value=${live(this.query)} @input=${(e) => { this.query = e.target.value; app.ticker.now(); }}></div>
        ${ask_button(app, asking, { name: 'query', label: t('instrument.send'), blocked: taken ?? (this.query.trim() ? null : t('instrument.type_first')), tap: send })}</form>
      ${this.answers.length ? html`<dl class="answers">${[...this.answers].reverse().map((a) => html`<div><dt><code>${a.text}</code></dt><dd class="wrap" data-tone=${a.bad ? 'bad' : 'off'}>${a.answer === null ? t('instrument.no_answer') : String(a.answer)}</dd></div>`)}</dl>` : nothing}
    </div></details>`;
  }

  settings_card(p) {
    const names = Object.keys(p.settings ?? {});
    return html`<details class="card fold" id="card-settings"><summary><h2>${t('instrument.settings')}</h2><span class="muted num">${names.length}</span></summary><div class="card-body">
      ${names.length ? tree(p.settings) : html`<p class="empty" data-empty="none">${t('instrument.no_settings')}</p>`}
      ${p.settings_updated ? html`<p class="hint num">${t('instrument.settings_of', { time: clock(p.settings_updated, this.app.store.clock.now_ms()) })}</p>` : nothing}
    </div></details>`;
  }
}
