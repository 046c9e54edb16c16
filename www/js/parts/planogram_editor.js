// What should stand where: the rows as they are edited, CSV in and out. Nothing is sent before "Save".

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { address, request } from '../core/api.js';
import { count, moment } from '../core/format.js';
import { t } from '../core/i18n.js';
import { FIELDS, change, differs, empty_row, faults, lost, parse_csv, to_items, to_rows, without } from '../state/planogram.js';
import { confirm } from './dialog.js';
import { icon } from './icon.js';
import { remote_empty } from './remote.js';

/** Rows shown at a time. */
const ROWS = 20;
const FAULTS = 30;
const FILE_BYTES = 1_000_000;

export class PlanogramEditor {
  /** `plan` is the Remote of the planogram; `saved()` is told when it was changed. */
  constructor(app, plan, { saved }) {
    Object.assign(this, { app, plan, saved });
    this.rows = null;
    this.base = null;
    this.page = 0;
    this.read = null;
    this.note = null;
    this.busy = false;
  }

  get items() {
    return this.plan.body?.items ?? [];
  }

  /** The draft, or what the daemon has. */
  shown() {
    return this.rows ?? to_rows(this.items);
  }

  edit(rows) {
    this.base ??= this.plan.body?.revision ?? 0;
    this.rows = rows;
    this.note = null;
    this.app.ticker.now();
  }

  discard() {
    Object.assign(this, { rows: null, base: null, read: null, note: null, page: 0 });
    this.plan.load();
    this.app.ticker.now();
  }

  async take(file) {
    if (!file) return;
    if (file.size > FILE_BYTES) this.read = { name: file.name, rows: [], faults: [{ line: 1, field: '', kind: 'many', value: file.size }] };
    else this.read = { name: file.name, ...parse_csv(await file.text()) };
    if (!this.read.faults.length) {
      this.page = 0;
      this.edit(this.read.rows);
    }
    this.app.ticker.now();
  }

  async save(if_revision = this.base) {
    if (this.busy) return;
    const gone = lost(this.rows, this.items);
    if (gone && !(await confirm({ title: t('planogram.save_title'), loss: t('planogram.save_loss', { n: gone, count: count(gone) }), action: t('planogram.save') }))) return;
    this.busy = true;
    this.note = null;
    this.app.ticker.now();
    try {
      await request('PUT', 'api/planograms', { items: to_items(this.rows), if_revision });
      Object.assign(this, { rows: null, base: null, read: null });
      this.note = { tone: 'good', text: t('planogram.saved') };
      await this.plan.load();
      this.saved();
    } catch (error) {
      this.note = error.status === 409 ? { tone: 'warn', text: t('planogram.changed'), theirs: error.problem?.revision }
        : { tone: 'bad', text: t('planogram.refused', { reason: error.status ? error.message : t(`feeds.fault.${error.code}`) }) };
    }
    this.busy = false;
    this.app.ticker.now();
  }

  draw() {
    const { plan } = this;
    if (!plan.body) return remote_empty(plan, '');
    const rows = this.shown();
    const wrong = faults(rows);
    const dirty = this.rows !== null && (wrong.length > 0 || differs(rows, this.items));
    const may = this.app.store.may_operate();
    const pages = Math.max(1, Math.ceil(rows.length / ROWS));
    this.page = Math.min(this.page, pages - 1);
    const first = this.page * ROWS;
    return html`
      <p class="hint hint-top">${t('planogram.hint')}</p>
      ${rows.length ? html`<div class="plan-rows">${rows.slice(first, first + ROWS).map((row, i) => this.row(row, first + i, wrong.filter((f) => f.row === first + i), may))}</div>`
        : html`<p class="empty" data-empty="none">${t('planogram.none')}</p>`}
      ${pages > 1 ? html`<div class="pager-line"><button type="button" class="button small" data-plan="earlier" aria-disabled=${String(this.page === 0)} @click=${() => this.turn(-1, pages)}>${icon('chevron-left')}<span>${t('planogram.earlier')}</span></button>
        <span class="num">${t('planogram.page', { page: this.page + 1, pages })}</span><button type="button" class="button small" data-plan="later" aria-disabled=${String(this.page === pages - 1)} @click=${() => this.turn(1, pages)}><span>${t('planogram.later')}</span>${icon('chevron-right')}</button></div>` : nothing}
      ${this.read?.faults.length ? html`<div class="note note-faults" data-tone="bad" role="alert" data-csv-faults>${icon('circle-x')}<div><p>${t('planogram.csv_faults', { n: this.read.faults.length, name: this.read.name })}</p>
        <ul>${this.read.faults.slice(0, FAULTS).map((f) => html`<li data-line=${f.line}>${t('planogram.line', { line: f.line })}: ${fault_text(f)}</li>`)}</ul></div></div>`
        : this.read && this.rows ? html`<p class="note" data-tone="busy" role="status">${icon('info')}<span>${t('planogram.csv_read', { n: this.read.rows.length, name: this.read.name })}</span></p>` : nothing}
      ${wrong.length && this.rows ? html`<p class="note" data-tone="bad" role="status">${icon('circle-x')}<span>${t('planogram.wrong', { n: wrong.length })}</span></p>` : nothing}
      ${this.note ? html`<div class="note" data-tone=${this.note.tone} role="status">${icon(this.note.tone === 'good' ? 'check' : 'triangle-alert')}<span>${this.note.text}</span>
        ${this.note.theirs === undefined ? nothing : html`<button type="button" class="button small" data-plan="theirs" @click=${() => this.discard()}>${t('planogram.theirs')}</button>
          <button type="button" class="button small danger" data-plan="mine" @click=${() => this.over(this.note.theirs)}>${t('planogram.mine')}</button>`}</div>` : nothing}
      <div class="actions">
        ${may ? html`<button type="button" class="button" data-plan="add" @click=${() => this.add(rows)}>${icon('plus')}<span>${t('planogram.add')}</span></button>
          <label class="button file"><input class="visually-hidden" type="file" accept=".csv,text/csv" data-plan="import" @change=${(e) => { this.take(e.target.files[0]); e.target.value = ''; }}>${icon('list-ordered')}<span>${t('planogram.import')}</span></label>` : nothing}
        <a class="button" data-plan="export" href=${address('api/planograms', { format: 'csv' })} download="planogram.csv">${icon('download')}<span>${t('planogram.export')}</span></a>
        ${this.rows ? html`<button type="button" class="button" data-plan="discard" @click=${() => this.discard()}>${icon('undo-2')}<span>${t('planogram.discard')}</span></button>
          <button type="button" class="button primary" data-plan="save" aria-disabled=${String(!dirty || wrong.length > 0 || this.busy)} @click=${() => dirty && !wrong.length && this.save()}>${this.busy ? html`<span class="spinner" aria-hidden="true"></span>` : icon('check')}<span>${t(this.busy ? 'planogram.saving' : 'planogram.save')}</span></button>` : nothing}
      </div>
      <p class="hint">${plan.body.updated ? t('planogram.revision', { revision: plan.body.revision, time: moment(plan.body.updated, this.app.store.clock.now_ms()) }) : t('planogram.first')}</p>`;
  }

  row(row, at, wrong, may) {
    return html`<fieldset class="plan-row" data-row=${at} ?data-wrong=${wrong.length > 0}><legend class="visually-hidden">${t('planogram.row', { n: at + 1 })}</legend>
      ${FIELDS.map((field) => {
        const bad = wrong.find((f) => f.field === field);
        return html`<label class="field plan-${field}"><span>${t(`planogram.${field}`)}</span><input data-field=${field} type="text" inputmode=${field === 'expected' || field === 'tolerance' ? 'numeric' : 'text'} autocomplete="off" spellcheck="false" ?readonly=${!may}
          aria-invalid=${bad ? 'true' : 'false'} .value=${live(row[field])} @input=${(e) => this.edit(change(this.shown(), at, field, e.target.value))}>${bad ? html`<small data-tone="bad">${fault_text(bad)}</small>` : nothing}</label>`;
      })}
      ${may ? html`<button type="button" class="button small plan-remove" data-plan="remove" aria-label=${t('planogram.remove_row', { n: at + 1 })} @click=${() => this.edit(without(this.shown(), at))}>${icon('trash-2')}</button>` : nothing}
    </fieldset>`;
  }

  add(rows) {
    this.edit([...rows, empty_row(rows.at(-1)?.location)]);
    this.page = Math.floor(rows.length / ROWS);
  }

  turn(by, pages) {
    this.page = Math.min(pages - 1, Math.max(0, this.page + by));
    this.app.ticker.now();
  }

  /** Ours instead of what somebody saved meanwhile. */
  async over(revision) {
    if (await confirm({ title: t('planogram.over_title'), loss: t('planogram.over_loss'), action: t('planogram.mine') })) await this.save(revision);
  }
}

const fault_text = ({ field, kind, value }) => t(`planogram.fault.${kind}`, { field: field ? t(`planogram.${field}`) : '', value: String(value).slice(0, 40) });
