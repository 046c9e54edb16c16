// The configuration: a form for every section, text for lists and for the whole file. Nothing is sent until Save; what
// was typed is kept through every update and while another page is looked at, and when the file was changed elsewhere
// the person decides.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { request } from '../core/api.js';
import { t } from '../core/i18n.js';
import { Remote } from '../core/remote.js';
import { card } from '../parts/card.js';
import { chip } from '../parts/chip.js';
import { confirm } from '../parts/dialog.js';
import { key_field } from '../parts/form.js';
import { icon } from '../parts/icon.js';
import { remote_empty } from '../parts/remote.js';
import * as config from '../state/config.js';

const LIMIT_MS = 15_000;

/** The keys above the first table have no section in the file. */
const name_of = (section) => section.name || 'top';
const title_of = (section) => (section.name ? section.title || section.name : t('config.top'));

export class ConfigView {
  constructor(app, route, signal) {
    Object.assign(this, { app, signal, busy: null, outcome: null, errors: [], comparing: false });
    // Kept by the app: going to another page and back loses nothing.
    this.kept = app.config_kept ??= { base: null, draft: config.no_draft(), fresh: null };
    this.unfolded = new Set(route.parts[1] ? [route.parts[1]] : []);
    this.remote = new Remote(app, 'api/config', { signal });
    this.seen = this.revision();
    app.store.listen((envelope) => envelope.type === 'config_changed' && this.heard(), signal);
    const warn = (event) => this.dirty() && event.preventDefault();
    addEventListener('beforeunload', warn);
    signal.addEventListener('abort', () => removeEventListener('beforeunload', warn));
    this.load().then(() => route.parts[1] && requestAnimationFrame(() => setTimeout(() => document.getElementById(`section-${route.parts[1]}`)?.scrollIntoView(), 300)));
  }

  get base() {
    return this.kept.base;
  }

  get draft() {
    return this.kept.draft;
  }

  dirty() {
    return !config.is_empty(this.draft);
  }

  /** Which change of the configuration was heard of last. */
  revision() {
    return this.app.store.slices.health.config?.id ?? null;
  }

  // ---- what comes ----

  heard() {
    // While a save is on its way its own change is no news.
    if (!this.busy) this.load();
  }

  async load() {
    const body = await this.remote.load();
    if (body) this.take(body);
  }

  take(body) {
    const { kept } = this;
    if (!kept.base || !this.dirty() || body.revision === kept.base.revision) {
      kept.base = body;
      kept.fresh = null;
    } else {
      kept.fresh = body;
    }
    this.app.ticker.now();
  }

  // ---- what the person does ----

  /** `step(draft)` gives the new draft: several changes may come between two drawings. */
  change(step) {
    this.kept.draft = step(this.draft);
    this.outcome = null;
    this.app.ticker.now();
  }

  discard() {
    this.kept.draft = config.no_draft();
    this.kept.base = this.kept.fresh ?? this.kept.base;
    this.kept.fresh = null;
    this.errors = [];
    this.app.ticker.now();
  }

  /** The person saw what was changed elsewhere and wants their own all the same. */
  keep_mine() {
    this.kept.base = this.kept.fresh;
    this.kept.fresh = null;
    this.comparing = false;
    this.app.ticker.now();
  }

  /** Sends; true when it was taken. `what` names the part that shows the outcome, `sent` the part of the draft that is sent. */
  async send(what, body, { check = false, sent } = {}) {
    if (this.busy) return false;
    this.busy = what;
    this.outcome = null;
    this.errors = [];
    this.app.ticker.now();
    try {
      const answer = await request('PUT', `api/config${check ? '?check=true' : ''}`, body, { limit_ms: LIMIT_MS });
      if (!check) await this.saved(sent);
      this.outcome = { what, ok: true, check, ...answer.body };
      return true;
    } catch (error) {
      this.errors = (error.problem?.errors ?? []).map((e) => ({ ...e, what }));
      this.outcome = { what, ok: false, check, code: error.code, reason: error.status ? error.message : t(error.code === 'timeout' ? 'config.no_answer' : 'config.not_sent') };
      if (error.status === 409) await this.load();
      return false;
    } finally {
      this.busy = null;
      this.app.ticker.now();
    }
  }

  /** After a save: what the daemon has now. What was typed meanwhile is kept. */
  async saved(sent) {
    const body = await this.remote.load();
    if (body) {
      this.kept.base = body;
      this.kept.fresh = null;
    }
    this.kept.draft = config.without(this.draft, sent);
    this.app.ticker.now();
  }

  async save_keys(what, keys) {
    if (!keys.length) return;
    await this.send(what, config.order(this.base, this.draft, keys), { sent: config.part(this.draft, keys) });
  }

  /** Sends the file with one block changed; `after` of null takes it out. */
  async save_block(path, list, before, after) {
    const changed = config.with_block(this.base.text, list.name, before, after);
    if (changed === null) {
      this.outcome = { what: path, ok: false, reason: t('config.block_lost') };
      return this.app.ticker.now();
    }
    const { text, line } = changed;
    if (await this.send(path, { text, if_revision: this.base.revision }, { sent: { blocks: { [path]: after } } })) return;
    // Lines are told as they stand in the block, where they can be changed.
    const last = line + (after ?? '').trim().split('\n').length - 1;
    this.errors = this.errors.map((e) => (e.line >= line && e.line <= last ? { ...e, line: e.line - line + 1, within: path } : { ...e, line: null }));
    this.app.ticker.now();
  }

  async remove_block(path, list, item) {
    const yes = await confirm({ title: t('config.remove_title', { name: `${list.name} ${item.id}` }), loss: t('config.remove_loss'), action: t('config.remove') });
    if (!yes) return;
    this.change((now) => config.type_block(now, path, undefined));
    await this.save_block(path, list, item.text, null);
  }

  async save_raw() {
    await this.send('raw', { text: this.draft.raw, if_revision: this.base.revision }, { sent: { raw: this.draft.raw } });
  }

  async save_all() {
    const keys = config.changed(this.draft);
    if (keys.length && !(await this.send('all', config.order(this.base, this.draft, keys), { sent: config.part(this.draft, keys) }))) return;
    for (const list of this.base.lists ?? []) {
      for (const item of [...list.items, { id: '+', text: null }]) {
        const path = `${list.name}/${item.id}`;
        if (path in this.draft.blocks) await this.save_block(path, list, item.text, this.draft.blocks[path]);
        if (this.outcome?.ok === false) return;
      }
    }
  }

  jump(line, within) {
    const editor = within ? document.querySelector(`[data-block="${CSS.escape(within)}"] textarea`) : document.getElementById('config-raw');
    if (!editor) return;
    const [from, to] = config.line_range(editor.value, line);
    editor.focus();
    editor.setSelectionRange(from, to);
    const lines = editor.value.split('\n').length;
    editor.scrollTop = Math.max(0, (editor.scrollHeight / lines) * (line - 4));
  }

  unfold(name, on) {
    if (on) this.unfolded.add(name);
    else this.unfolded.delete(name);
  }

  // ---- what it looks like ----

  /** Why nothing can be changed, or null. */
  locked() {
    const { base } = this;
    if (!this.app.store.may_admin()) return t('config.locked.role');
    if (!base.path) return t('config.locked.no_file');
    return base.writable === false ? t('config.locked.not_writable', { path: base.path }) : null;
  }

  draw() {
    const { base, remote } = this;
    return html`<div class="overview narrow config">
      <p><a class="button small" href="#/system">${icon('chevron-left')}<span>${t('source.back')}</span></a></p>
      ${base ? this.whole() : card('config', { title: t('config.title'), body: () => remote_empty(remote, t('config.none')) })}
    </div>`;
  }

  whole() {
    const { base, draft } = this;
    const locked = this.locked();
    const changed = config.changed(draft).length + Object.keys(draft.blocks).length;
    return html`
      ${card('config', {
        title: t('config.title'),
        summary: base.path ? html`<code class="wrap">${base.path}</code>` : null,
        body: () => html`
          ${locked ? html`<p class="note" data-tone="off" data-config="locked">${icon('key-round')}<span>${locked}</span></p>` : html`<p class="hint first">${t('config.hint')}</p>`}
          ${this.conflict()}
          ${base.errors?.length ? html`<p class="note" data-tone="bad">${t('config.file_faults')}</p>${this.error_list(base.errors)}` : nothing}
          <nav class="index" aria-label=${t('config.sections')}>${base.sections.map((s) => html`<button type="button" class="button small" @click=${() => this.go(name_of(s))}>${title_of(s)}${
            config.changed(draft, s).length ? ' •' : ''}</button>`)}</nav>
          ${locked ? nothing : html`<div class="actions"><button type="button" class="button primary" data-save="all" aria-disabled=${changed && !this.busy ? 'false' : 'true'} @click=${() => this.dirty() && this.save_all()}>${
            this.busy === 'all' ? t('config.saving') : t('config.save_all', { n: changed })}</button>
            <button type="button" class="button" data-reset="all" aria-disabled=${this.dirty() ? 'false' : 'true'} @click=${() => this.reset_all()}>${t('config.reset_all')}</button></div>`}
          ${this.said('all')}`,
      })}
      ${repeat(base.sections, (s) => s.name, (s) => this.section(s, locked))}
      ${repeat(base.lists ?? [], (l) => l.name, (l) => this.list(l, locked))}
      ${base.text === undefined || base.text === null ? nothing : this.raw(locked)}`;
  }

  go(name) {
    this.unfolded.add(name);
    this.app.ticker.now();
    setTimeout(() => document.getElementById(`section-${name}`)?.scrollIntoView(), 200);
  }

  async reset_all() {
    if (!this.dirty()) return;
    if (await confirm({ title: t('config.reset_title'), loss: t('config.reset_loss'), action: t('config.reset_all') })) this.discard();
  }

  /** How the last save of this part went. */
  said(what) {
    const { outcome } = this;
    if (outcome?.what !== what) return nothing;
    if (!outcome.ok) {
      return html`<p class="note" data-tone="bad" role="status" data-outcome="refused">${icon('circle-x')}<span>${outcome.code === 'revision' ? t('config.revision') : t('action.refused', { reason: outcome.reason })}</span></p>
        ${this.error_list(this.errors.filter((e) => e.what === what))}`;
    }
    if (outcome.check) return html`<p class="note" data-tone="good" role="status" data-outcome="valid">${icon('check')}<span>${t('config.valid')}</span></p>`;
    return html`<p class="note" data-tone="good" role="status" data-outcome="saved">${icon('check')}<span>${t('config.saved')}${outcome.needs_restart?.length
      ? html` ${t('config.needs_restart', { keys: outcome.needs_restart.join(', ') })}` : nothing}</span></p>`;
  }

  error_list(errors) {
    if (!errors.length) return nothing;
    const raw = this.draft.raw !== null || this.base.text;
    return html`<ul class="errors">${errors.map((e) => html`<li>${typeof e.line === 'number' && raw ? html`<button type="button" class="button small" data-jump=${e.line} @click=${() => this.jump_to(e)}>${
      t('config.line', { line: e.line, column: e.column ?? 1 })}</button>` : nothing}<span>${e.detail}</span></li>`)}</ul>`;
  }

  jump_to({ line, within }) {
    if (!within) this.unfolded.add('raw');
    this.app.ticker.now();
    setTimeout(() => this.jump(line, within), 200);
  }

  conflict() {
    const { fresh } = this.kept;
    if (!fresh) return nothing;
    const toggle = () => {
      this.comparing = !this.comparing;
      this.app.ticker.now();
    };
    return html`<div class="note block" data-tone="warn" data-config="conflict" role="status">${icon('triangle-alert')}<div><p>${t('config.conflict')}</p>
      <div class="actions"><button type="button" class="button small" aria-expanded=${this.comparing ? 'true' : 'false'} @click=${toggle}>${t('config.compare')}</button>
        <button type="button" class="button small" data-conflict="mine" @click=${() => this.keep_mine()}>${t('config.keep_mine')}</button>
        <button type="button" class="button small danger" data-conflict="theirs" @click=${() => this.discard()}>${t('config.take_theirs')}</button></div></div></div>
      ${this.comparing ? this.comparison(fresh) : nothing}`;
  }

  comparison(fresh) {
    const rows = config.compare(this.base, fresh, this.draft);
    const mine = this.draft.raw;
    const lines = mine === null ? config.difference(this.base.text ?? '', fresh.text ?? '') : config.difference(mine, fresh.text ?? '');
    const say = (value) => (value === null || value === undefined || value === '' ? '–' : value);
    return html`${rows.length ? html`<table class="list compare"><thead><tr>${['key', 'was', 'theirs', 'mine'].map((c) => html`<th scope="col">${t(`config.col.${c}`)}</th>`)}</tr></thead>
        <tbody>${rows.map((r) => html`<tr><th scope="row"><code>${r.key}</code></th>${['was', 'theirs', 'mine'].map((c) => html`<td data-label=${t(`config.col.${c}`)}>${say(r[c])}</td>`)}</tr>`)}</tbody></table>` : nothing}
      ${lines ? html`<h3 class="card-sub">${t('config.diff', { line: lines.line })}</h3>
        <pre class="bytes" tabindex="0" aria-label=${t('config.diff', { line: lines.line })}>${lines.ours.map((l) => `- ${l}\n`)}${lines.theirs.map((l) => `+ ${l}\n`)}</pre>` : nothing}`;
  }

  section(section, locked) {
    const { draft } = this;
    const changed = config.changed(draft, section);
    const about = (key) => this.errors.filter((e) => e.detail?.includes(`\`${key}\``)).map((e) => e.detail);
    const name = name_of(section);
    return html`<details class="card fold" id=${`section-${name}`} data-section=${name} ?open=${this.unfolded.has(name)} @toggle=${(e) => this.unfold(name, e.target.open)}>
      <summary><h2>${title_of(section)}</h2><span class="card-summary">${changed.length ? chip('job', 'queued', { quiet: true, text: t('config.n_changed', { n: changed.length }) })
        : t('config.n_keys', { n: section.keys.length })}</span></summary>
      <div class="card-body">
        ${section.keys.map((key) => key_field({
          key, text: config.field(draft, key), changed: key.key in draft.values, preset: config.is_default(draft, key), readonly: locked !== null,
          errors: about(key.key), typed: (text) => this.change((now) => config.type(now, key, text)),
        }))}
        ${locked ? nothing : html`<div class="actions"><button type="button" class="button primary" data-save=${name} aria-disabled=${changed.length && !this.busy ? 'false' : 'true'}
            @click=${() => this.save_keys(name, config.changed(this.draft, section))}>${this.busy === name ? t('config.saving') : t('config.save')}</button>
          <button type="button" class="button" data-reset=${name} aria-disabled=${changed.length ? 'false' : 'true'} @click=${() => this.change((now) => config.reset(now, config.changed(now, section)))}>${t('config.reset')}</button></div>`}
        ${this.said(name)}
      </div></details>`;
  }

  list(list, locked) {
    const { draft } = this;
    const mine = Object.keys(draft.blocks).filter((path) => path.startsWith(`${list.name}/`));
    const adding = `${list.name}/+` in draft.blocks;
    return html`<details class="card fold" id=${`section-${list.name}`} data-list=${list.name} ?open=${this.unfolded.has(list.name)} @toggle=${(e) => this.unfold(list.name, e.target.open)}>
      <summary><h2>${list.title || `[[${list.name}]]`}</h2><span class="card-summary">${mine.length ? chip('job', 'queued', { quiet: true, text: t('config.n_changed', { n: mine.length }) })
        : t('config.n_items', { n: list.items.length })}</span></summary>
      <div class="card-body">
        ${list.items.length || adding ? nothing : html`<p class="empty" data-empty="none">${t('config.no_items', { name: list.name })}</p>`}
        ${repeat(list.items, (item) => item.id, (item) => this.block(list, item, locked))}
        ${adding ? this.block(list, { id: '+', text: null }, locked) : locked ? nothing : html`<div class="actions"><button type="button" class="button" data-add=${list.name}
          @click=${() => this.change((now) => config.type_block(now, `${list.name}/+`, `${list.keys?.[0]?.key.split('.').at(-1) ?? 'id'} = ""\n`))}>${t('config.add', { name: list.name })}</button></div>`}
        ${list.keys?.length ? html`<details class="keys"><summary class="button small">${t('config.keys')}</summary><dl class="keys-list">${list.keys.map((k) => html`<div><dt><code>${k.key}</code> <span class="muted">${k.type ?? ''}</span></dt>
          <dd>${k.doc} <span class="muted">${t('config.default', { value: k.default ?? '–' })}</span></dd></div>`)}</dl></details>` : nothing}
      </div></details>`;
  }

  block(list, item, locked) {
    const { draft } = this;
    const path = `${list.name}/${item.id}`;
    const text = draft.blocks[path] ?? item.text ?? '';
    const changed = path in draft.blocks;
    const name = item.id === '+' ? t('config.new') : item.id;
    const edit = (value) => this.change((now) => config.type_block(now, path, value === item.text ? undefined : value));
    return html`<div class="entry" data-block=${path}>
      <label class="field"><span><code>[[${list.name}]] ${name}</code>${changed ? html` ${chip('job', 'queued', { quiet: true, text: t('config.changed') })}` : nothing}</span>
        <textarea class="code" rows=${Math.min(24, text.split('\n').length + 1)} autocapitalize="off" autocomplete="off" spellcheck="false" ?readonly=${locked !== null}
          .value=${live(text)} @input=${(e) => edit(e.target.value)}></textarea></label>
      ${locked ? nothing : html`<div class="actions"><button type="button" class="button primary" data-save=${path} aria-disabled=${changed && !this.busy ? 'false' : 'true'}
          @click=${() => path in this.draft.blocks && this.save_block(path, list, item.text, this.draft.blocks[path])}>${this.busy === path ? t('config.saving') : t('config.save')}</button>
        <button type="button" class="button" data-reset=${path} aria-disabled=${changed ? 'false' : 'true'} @click=${() => this.change((now) => config.type_block(now, path, undefined))}>${t('config.reset')}</button></div>
        ${item.id === '+' ? nothing : html`<div class="actions apart"><button type="button" class="button danger" data-remove=${path} aria-disabled=${this.busy ? 'true' : 'false'} @click=${() => !this.busy && this.remove_block(path, list, item)}>${t('config.remove')}</button></div>`}`}
      ${this.said(path)}</div>`;
  }

  raw(locked) {
    const { draft, base } = this;
    const text = draft.raw ?? base.text;
    const changed = draft.raw !== null;
    return html`<details class="card fold" id="section-raw" ?open=${this.unfolded.has('raw')} @toggle=${(e) => this.unfold('raw', e.target.open)}>
      <summary><h2>${t('config.raw')}</h2><span class="card-summary">${changed ? chip('job', 'queued', { quiet: true, text: t('config.changed') }) : nothing}</span></summary>
      <div class="card-body">
        <p class="hint first">${t('config.raw_hint')}</p>
        <label class="field"><span class="visually-hidden">${t('config.raw')}</span><textarea class="code" id="config-raw" rows="20" autocapitalize="off" autocomplete="off" spellcheck="false" ?readonly=${locked !== null}
          .value=${live(text)} @input=${(e) => this.change((now) => ({ ...now, raw: e.target.value === this.base.text ? null : e.target.value }))}></textarea></label>
        ${locked ? nothing : html`<div class="actions"><button type="button" class="button primary" data-save="raw" aria-disabled=${changed && !this.busy ? 'false' : 'true'} @click=${() => this.draft.raw !== null && this.save_raw()}>${this.busy === 'raw' ? t('config.saving') : t('config.save')}</button>
          <button type="button" class="button" data-check aria-disabled=${this.busy ? 'true' : 'false'} @click=${() => this.send('raw', { text: this.draft.raw ?? this.base.text, if_revision: this.base.revision }, { check: true })}>${t('config.check')}</button>
          <button type="button" class="button" data-reset="raw" aria-disabled=${changed ? 'false' : 'true'} @click=${() => this.change((now) => ({ ...now, raw: null }))}>${t('config.reset')}</button></div>`}
        ${this.said('raw')}
      </div></details>`;
  }
}
