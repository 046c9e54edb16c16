// A new scan: put together from fields or as JSON text, or taken from a template; checked by the daemon while it is typed,
// with the faults where they belong; then added to a queue. Draws itself into its card; keeps what was typed.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { post } from '../core/api.js';
import { count, duration, number, unit as unit_text } from '../core/format.js';
import { t } from '../core/i18n.js';
import { Remote, outcome } from '../core/remote.js';
import * as form from '../state/scan_form.js';
import { ask_button, asked_note } from './asked.js';
import { confirm } from './dialog.js';
import { icon } from './icon.js';
import { panel_fault } from './panel_clock.js';
import { remote_empty } from './remote.js';

const TYPED_MS = 350;
const WAYS = ['form', 'text', 'templates'];
const STEPS_SHOWN = 12;

export class ScanAdd {
  /** `asking` sends; `queue_id` is the queue; ends with `signal`. */
  constructor(app, { queue_id, asking, signal }) {
    Object.assign(this, { app, queue_id, asking, signal });
    this.way = 'form';
    this.draft = form.blank();
    this.text = '';
    this.front = false;
    this.checked = null;
    this.turn = 0;
    this.templates = new Remote(app, 'api/templates', { signal });
    this.template_name = '';
    signal.addEventListener('abort', () => clearTimeout(this.typing));
  }

  // ---- what the person does ----

  go(way) {
    if (way === 'text' && this.way === 'form') this.text = form.text_of(form.describe(this.draft));
    if (way === 'form' && this.way === 'text') {
      const draft = form.draft_of(form.parse(this.text).description);
      if (!draft && this.text.trim()) {
        this.hint = t('scan_add.text_only');
        return this.app.ticker.now();
      }
      this.draft = draft ?? this.draft;
    }
    this.hint = null;
    this.way = way;
    if (way === 'templates') this.templates.load();
    else if (this.turn) this.check(0);
    this.app.ticker.now();
  }

  set(changes) {
    this.draft = { ...this.draft, ...changes };
    this.check();
  }

  set_axis(i, changes) {
    this.set({ axes: this.draft.axes.map((a, n) => (n === i ? { ...a, ...changes } : a)) });
  }

  /** Takes a description in, as far as the form can show it; else as text. */
  edit(description) {
    const draft = form.draft_of(description);
    if (draft) Object.assign(this, { draft, way: 'form' });
    else Object.assign(this, { text: form.text_of(description), way: 'text' });
    this.hint = null;
    this.check(0);
  }

  /** What would be sent, or null while the text is no JSON. */
  description() {
    return this.way === 'text' ? form.parse(this.text).description ?? null : form.describe(this.draft);
  }

  check(wait_ms = TYPED_MS) {
    clearTimeout(this.typing);
    this.turn += 1;
    this.typing = setTimeout(() => this.validate(), wait_ms);
    this.app.ticker.now();
  }

  async validate() {
    const { turn } = this;
    const description = this.description();
    if (description === null) return;
    const many = Array.isArray(description) ? description : [description];
    try {
      const answers = [];
      for (const one of many) answers.push((await post('api/scans/validate', { description: one }, { signal: this.signal })).body);
      if (turn !== this.turn) return;
      this.checked = {
        turn, status: 'ok', valid: answers.length > 0 && answers.every((a) => a.valid), violations: answers.flatMap((a, i) => (a.violations ?? []).map((v) => ({ ...v, scan: i }))),
        points: sum(answers.map((a) => a.points_total)), planned_s: sum(answers.map((a) => a.planned_s)), steps: answers.flatMap((a) => a.steps ?? []), scans: answers.length,
      };
    } catch (error) {
      if (turn !== this.turn || this.signal.aborted) return;
      this.checked = { turn, ...outcome(error), violations: error.problem?.violations ?? [], valid: false };
    }
    this.app.ticker.now();
  }

  async add() {
    const description = this.description();
    if (description === null) return;
    await this.send('add', description);
  }

  async send(name, body) {
    const path = `api/queues/${encodeURIComponent(this.queue_id)}/scans${this.front ? '?position=front' : ''}`;
    const answer = await this.asking.send(name, 'POST', path, body, {
      words: ({ items = [] }) => t('scan_add.added', { n: items.length, ids: items.map((s) => s.scan_id).join(', ') }),
    });
    const faults = this.asking.notes.get(name)?.violations;
    if (!answer && faults?.length) this.checked = { turn: this.turn, status: 'ok', valid: false, violations: faults };
    this.app.ticker.now();
  }

  async keep() {
    const description = this.description();
    const name = this.template_name.trim();
    if (description === null || !name) return;
    const kept = await this.asking.send('template', 'POST', 'api/templates', { name, descriptions: Array.isArray(description) ? description : [description] }, { words: () => t('scan_add.kept', { name }) });
    if (kept) this.template_name = '';
    this.templates.load();
  }

  async forget({ template_id, name }) {
    if (!(await confirm({ title: t('scan_add.forget_title', { name }), loss: t('scan_add.forget_loss'), action: t('scan_add.forget') }))) return;
    await this.asking.send('template', 'DELETE', `api/templates/${encodeURIComponent(template_id)}`);
    this.templates.load();
  }

  // ---- what it looks like ----

  draw() {
    return html`<div class="scan-add">
      <div class="ways" role="group" aria-label=${t('scan_add.ways')}>${WAYS.map((way) => html`<button type="button" class="button" data-way=${way} aria-pressed=${this.way === way ? 'true' : 'false'} @click=${() => this.go(way)}>${t(`scan_add.way.${way}`)}</button>`)}</div>
      ${this.hint ? html`<p class="note" data-tone="warn" role="status">${icon('triangle-alert')}<span>${this.hint}</span></p>` : nothing}
      ${this.way === 'templates' ? this.draw_templates() : html`${this.way === 'form' ? this.draw_form() : this.draw_text()}${this.draw_sum()}`}
    </div>`;
  }

  /** Faults that are plain here, then those the daemon found. */
  faults() {
    const plain = this.way === 'form' ? form.faults_of(this.draft, this.channels()) : [];
    const theirs = this.checked?.violations?.filter((v) => !plain.some((f) => f.field === v.field)) ?? [];
    return [...plain.map((f) => ({ ...f, detail: f.code === 'number' ? t('scan_add.no_number') : beyond_words(f) })), ...theirs];
  }

  channels() {
    return form.channels_of(this.app.store.slices.instruments);
  }

  draw_form() {
    const { draft } = this;
    const faults = this.faults();
    const channels = this.channels();
    const field = (key, label, more = {}) => text_field({ id: `scan-${key}`, label, value: draft[key], faults: form.faults_at(faults, key), typed: (value) => this.set({ [key]: value }), ...more });
    return html`<div class="lab-form">
      ${field('name', t('scan_add.name'), { text: true })}
      <fieldset class="set"><legend>${t('scan_add.axes')}</legend>
        <p class="hint first">${draft.axes.length ? t('scan_add.axes_hint') : t('scan_add.no_axes')}</p>
        ${draft.axes.map((axis, i) => this.draw_axis(axis, i, faults, channels))}
        <div class="actions"><button type="button" class="button" data-add="axis" @click=${() => this.set({ axes: [...this.draft.axes, form.axis()] })}>${icon('plus')}<span>${t('scan_add.add_axis')}</span></button></div>
      </fieldset>
      <fieldset class="set"><legend>${t('scan_add.measure')}</legend>
        <div class="choice-options" role="group" aria-label=${t('scan_add.measure')}>${measurable(channels, draft.measure).map((c) => html`<label class="option"><input type="checkbox" name="measure" value=${c.name} .checked=${live(draft.measure.includes(c.name))}
          @change=${(e) => this.set({ measure: e.target.checked ? [...this.draft.measure, c.name] : this.draft.measure.filter((n) => n !== c.name) })}><span>${c.name}${c.unit ? html` <span class="muted">${unit_text(c.unit)}</span>` : nothing}</span></label>`)}</div>
        ${channels.length ? nothing : html`<p class="hint">${t('scan_add.no_channels')}</p>`}
        ${fault_notes(form.faults_at(faults, 'measure', true), 'scan-measure')}
      </fieldset>
      <div class="fields">
        ${draft.axes.length ? nothing : field('count', t('scan_add.count'))}
        ${field('interval_s', t('scan_add.interval_s'))}
        ${field('repeat', t('scan_add.repeat'))}
        ${field('samples', t('scan_add.samples'))}
      </div>
      <div class="fields few">
        ${select_field({ id: 'scan-on_error', label: t('scan_add.on_error'), value: draft.on_error, options: form.ON_ERROR.map((v) => [v, t(`scan_add.on_error.${v}`)]), faults: form.faults_at(faults, 'on_error', true), chosen: (value) => this.set({ on_error: value }) })}
        ${select_field({ id: 'scan-after', label: t('scan_add.after'), value: draft.after, options: form.AFTER.map((v) => [v, t(`scan_add.after.${v}`)]), faults: form.faults_at(faults, 'after', true), chosen: (value) => this.set({ after: value }) })}
      </div>
      ${Object.keys(draft.rest).length ? html`<p class="hint">${t('scan_add.rest', { keys: Object.keys(draft.rest).join(', ') })}</p>` : nothing}
      ${fault_list(form.faults_elsewhere(faults, draft))}
    </div>`;
  }

  draw_axis(axis, i, faults, channels) {
    const at = (key) => `axes[${i}].${key}`;
    const settable = channels.filter((c) => c.settable && !c.words.length);
    const chosen = channels.find((c) => c.name === axis.set);
    const options = [['', t('scan_add.choose')], ...settable.map((c) => [c.name, `${c.name}${c.unit ? ` (${unit_text(c.unit)})` : ''}`]), ...(axis.set && !settable.some((c) => c.name === axis.set) ? [[axis.set, axis.set]] : [])];
    const step = form.step_of(axis);
    const unit = chosen?.unit ? ` (${unit_text(chosen.unit)})` : '';
    const field = (key, label) => text_field({ id: `axis-${i}-${key}`, label, value: axis[key], faults: form.faults_at(faults, at(key)), typed: (value) => this.set_axis(i, { [key]: value }) });
    return html`<fieldset class="axis" data-axis=${i}><legend>${t('scan_add.axis', { n: i + 1 })}</legend>
      ${select_field({ id: `axis-${i}-set`, label: t('scan_add.set'), value: axis.set, options, faults: form.faults_at(faults, at('set')), chosen: (value) => this.set_axis(i, { set: value }) })}
      ${chosen?.limits ? html`<p class="hint num" data-limits>${limits_words(chosen)}</p>` : nothing}
      <div class="fields">${field('start', `${t('scan_add.start')}${unit}`)}${field('stop', `${t('scan_add.stop')}${unit}`)}${field('points', t('scan_add.points'))}${field('settle_s', t('scan_add.settle_s'))}</div>
      ${step === null ? nothing : html`<p class="hint num">${t('scan_add.step', { step: number(step), unit: chosen?.unit ? unit_text(chosen.unit) : '' })}</p>`}
      <div class="axis-foot">
        ${i ? html`<label class="option"><input type="checkbox" name="snake" .checked=${live(axis.snake)} @change=${(e) => this.set_axis(i, { snake: e.target.checked })}><span>${t('scan_add.snake')}</span></label>` : nothing}
        <button type="button" class="button" data-remove-axis=${i} @click=${() => this.set({ axes: this.draft.axes.filter((_, n) => n !== i) })}>${icon('x')}<span>${t('scan_add.remove_axis')}</span></button>
      </div>
      ${fault_notes(form.faults_at(faults, `axes[${i}]`), `axis-${i}`)}
    </fieldset>`;
  }

  draw_text() {
    const { fault } = this.text.trim() ? form.parse(this.text) : {};
    const faults = fault ? [] : this.checked?.violations ?? [];
    return html`<div class="lab-form"><label class="field"><span>${t('scan_add.text')}</span>
      <textarea class="code" id="scan-text" rows="14" autocapitalize="off" autocomplete="off" spellcheck="false" aria-invalid=${fault || faults.length ? 'true' : 'false'} aria-describedby="scan-text-faults" .value=${live(this.text)}
        @input=${(e) => { this.text = e.target.value; this.check(); }}></textarea></label>
      <div id="scan-text-faults">${fault ? html`<p class="note" data-tone="bad" role="status">${fault.line ? t('scan_add.bad_json_line', { line: fault.line, reason: fault.reason }) : t('scan_add.bad_json', { reason: fault.reason })}</p>` : fault_list(faults)}</div></div>`;
  }

  draw_sum() {
    const { checked, app, asking } = this;
    const current = checked?.turn === this.turn ? checked : null;
    const description = this.description();
    const own = this.way === 'form' ? form.points_of(this.draft) : null;
    const points = current?.status === 'ok' && current.valid ? current.points : own;
    // A daemon that can't check says no when it is added.
    const checkable = current?.status !== 'absent';
    const begun = this.turn > 0;
    const blocked = !begun ? t('scan_add.begin') : description === null ? t('scan_add.not_json') : !current ? t('scan_add.checking') : checkable && !current.valid ? t('scan_add.faulty', { n: Math.max(1, this.faults().length) }) : null;
    return html`<div class="scan-sum" aria-live="polite">
        <p class="num" data-sum>${points === null || points === undefined ? t('scan_add.points_unknown') : t('scan_add.points_known', { n: points, points: count(points) })}${
          current?.valid && typeof current.planned_s === 'number' ? html`, ${t('scan_add.planned', { time: duration(current.planned_s) })}` : nothing}</p>
        <p class="muted">${!begun ? t('scan_add.begin') : !current ? t('scan_add.checking') : current.valid ? t('scan_add.valid') : current.status === 'ok' ? t('scan_add.faulty', { n: Math.max(1, this.faults().length) }) : current.status === 'absent' ? t('scan_add.unchecked') : t('empty.error', { reason: current.reason })}</p>
        ${current?.valid && current.steps.length ? html`<details class="keys"><summary class="button small">${t('scan_add.steps')}</summary><ol class="steps">${current.steps.slice(0, STEPS_SHOWN).map((line) => html`<li>${line}</li>`)}</ol>${
          current.steps.length > STEPS_SHOWN ? html`<p class="hint">${t('list.more', { n: current.steps.length - STEPS_SHOWN })}</p>` : nothing}</details>` : nothing}
      </div>
      <div class="actions">
        ${ask_button(app, asking, { name: 'add', label: t('scan_add.add'), doing: t('scan_add.adding'), shape: 'plus', primary: true, blocked, tap: () => this.add() })}
        <label class="option"><input type="checkbox" name="front" .checked=${live(this.front)} @change=${(e) => { this.front = e.target.checked; app.ticker.now(); }}><span>${t('scan_add.front')}</span></label>
      </div>
      ${asked_note(asking, 'add')}
      <div class="keep"><label class="field"><span>${t('scan_add.template_name')}</span><input type="text" name="template" maxlength="120" autocomplete="off" .value=${live(this.template_name)} @input=${(e) => { this.template_name = e.target.value; app.ticker.now(); }}></label>
        ${ask_button(app, asking, { name: 'template', label: t('scan_add.keep'), shape: 'archive', blocked: description === null || !this.template_name.trim() ? t('scan_add.name_first') : null, tap: () => this.keep() })}</div>
      ${asked_note(asking, 'template')}`;
  }

  draw_templates() {
    const { templates, app, asking } = this;
    if (!templates.body?.items.length) return html`${remote_empty(templates, t('scan_add.no_templates'))}${asked_note(asking, 'template')}`;
    return html`${panel_fault(templates.status === 'error' ? templates.reason : null)}<ul class="rows">${templates.body.items.map((it) => html`<li class="row" data-template=${it.template_id}>
        <div class="row-head"><span class="row-name">${it.name}</span><span class="muted num">${t('scan_add.scans', { n: it.descriptions.length })}</span></div>
        <div class="actions">
          ${ask_button(app, asking, { name: `use-${it.template_id}`, label: t('scan_add.use'), shape: 'plus', primary: true, words: `${t('scan_add.use')}: ${it.name}`, tap: () => this.send(`use-${it.template_id}`, { template: it.template_id }) })}
          <button type="button" class="button" aria-label=${`${t('scan_add.edit')}: ${it.name}`} @click=${() => this.edit(it.descriptions.length === 1 ? it.descriptions[0] : it.descriptions)}>${icon('pencil')}<span>${t('scan_add.edit')}</span></button>
          <button type="button" class="button danger" aria-label=${`${t('scan_add.forget')}: ${it.name}`} @click=${() => this.forget(it)}>${icon('trash-2')}<span>${t('scan_add.forget')}</span></button>
        </div>${asked_note(asking, `use-${it.template_id}`)}</li>`)}</ul>${asked_note(asking, 'template')}`;
  }
}

const sum = (values) => (values.every((v) => typeof v === 'number') ? values.reduce((a, b) => a + b, 0) : null);

/** What can be measured: channels as they are known, and those of the draft that are not. */
function measurable(channels, chosen) {
  const known = channels.filter((c) => c.readable);
  return [...known, ...chosen.filter((name) => !known.some((c) => c.name === name)).map((name) => ({ name, unit: null }))];
}

export function limits_words({ limits, unit }) {
  const u = unit ? ` ${unit_text(unit)}` : '';
  const [low, high] = [limits.low, limits.high].map((v) => (typeof v === 'number' ? number(v) : null));
  return low !== null && high !== null ? t('limits.both', { low, high: `${high}${u}` }) : low !== null ? t('limits.low', { low: `${low}${u}` }) : high !== null ? t('limits.high', { high: `${high}${u}` }) : '';
}

/** Why a number is refused. */
export const beyond_words = ({ low, high }, unit) => t('limits.beyond', { limits: limits_words({ limits: { low, high }, unit }) });

const fault_notes = (faults, id) => html`<div id=${`${id}-faults`}>${faults.map((f) => html`<p class="field-fault" data-tone="bad" data-field=${f.field}>${icon('circle-x')}<span>${f.detail}</span></p>`)}</div>`;
const fault_list = (faults) => (faults.length ? html`<ul class="errors">${faults.map((f) => html`<li data-field=${f.field}><span data-tone="bad" class="num">${(f.scan ?? f.index) ? html`<span class="muted">${t('scan_add.of_scan', { n: (f.scan ?? f.index) + 1 })}</span> ` : nothing}${f.field ? html`<code>${f.field}</code> ` : nothing}${f.detail}</span></li>`)}</ul>` : nothing);

function text_field({ id, label, value, faults, typed, text = false }) {
  return html`<div class="field-box"><label class="field" for=${id}><span>${label}</span></label><input id=${id} type="text" inputmode=${text ? 'text' : 'decimal'} autocomplete="off" autocapitalize="off" spellcheck="false" maxlength="200"
    aria-invalid=${faults.length ? 'true' : 'false'} aria-describedby=${`${id}-faults`} .value=${live(value)} @input=${(e) => typed(e.target.value)}>${fault_notes(faults, id)}</div>`;
}

function select_field({ id, label, value, options, faults, chosen }) {
  return html`<div class="field-box"><label class="field" for=${id}><span>${label}</span></label><select id=${id} aria-invalid=${faults.length ? 'true' : 'false'} aria-describedby=${`${id}-faults`} @change=${(e) => chosen(e.target.value)}>${
    options.map(([v, words]) => html`<option value=${v} .selected=${v === value}>${words}</option>`)}</select>${fault_notes(faults, id)}</div>`;
}
