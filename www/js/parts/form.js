// One key of the configuration as a field: the input its type asks for, its line of documentation, its default, and marks
// for "changed" and "needs a restart". What is typed goes to `typed(text)`; null means "use the default".

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { t } from '../core/i18n.js';
import { fault } from '../state/config.js';
import { chip } from './chip.js';

/** `key` as in GET /api/config; `text` is what stands in the field; `errors` are the daemon's about this key. */
export function key_field({ key, text, changed, preset, readonly, typed, errors = [] }) {
  const id = `key-${key.key}`;
  const wrong = preset ? null : fault(key, text);
  const notes = [...errors, ...(wrong ? [t(`form.expected.${wrong}`)] : [])];
  return html`<div class="key" data-key=${key.key} ?data-changed=${changed}>
    <div class="key-head"><label for=${id}><code>${key.key}</code></label>
      ${changed ? chip('job', 'queued', { quiet: true, text: t('config.changed') }) : nothing}
      ${key.live === false ? html`<span class="tag">${t('config.restart')}</span>` : nothing}</div>
    <p class="hint first" id=${`${id}-doc`}>${key.doc}</p>
    <div class="key-input">${input(id, key, text, readonly, typed, notes.length > 0)}</div>
    <div class="hint key-type"><span id=${`${id}-type`}>${key.type ?? nothing}${key.type ? ' · ' : nothing}${t('config.default', { value: key.default ?? '–' })}</span>${
      readonly || preset ? nothing : html`<button type="button" class="button small" @click=${() => typed(null)}>${t('config.use_default')}</button>`}</div>
    ${notes.map((note) => html`<p class="note" data-tone="bad" role="status">${note}</p>`)}
  </div>`;
}

function input(id, key, text, readonly, typed, invalid) {
  const describe = `${id}-doc ${id}-type`;
  const take = (event) => typed(event.target.value);
  switch (key.kind) {
    case 'switch':
      return html`<label class="option switch" for=${id}><input id=${id} type="checkbox" aria-describedby=${describe} .checked=${live(text === 'true')} ?disabled=${readonly}
        @change=${(e) => typed(e.target.checked ? 'true' : 'false')}><span>${t(text === 'true' ? 'form.on' : 'form.off')}</span></label>`;
    case 'choice':
    case 'number': {
      const choices = key.choices;
      if (!choices) break;
      return html`<select id=${id} aria-describedby=${describe} ?disabled=${readonly} @change=${take}>
        ${choices.includes(text) ? nothing : html`<option value=${text} ?selected=${true}>${text || '–'}</option>`}
        ${choices.map((choice) => html`<option value=${choice} ?selected=${live(choice === text)}>${choice}</option>`)}</select>`;
    }
    case 'list':
      return html`<textarea id=${id} rows=${Math.min(8, Math.max(2, text.split('\n').length + 1))} aria-describedby=${describe} aria-invalid=${invalid ? 'true' : 'false'}
        autocapitalize="off" autocomplete="off" spellcheck="false" ?readonly=${readonly} .value=${live(text)} @input=${take}></textarea>`;
    default:
  }
  return html`<input id=${id} type="text" inputmode=${key.kind === 'number' ? 'decimal' : 'text'} aria-describedby=${describe} aria-invalid=${invalid ? 'true' : 'false'}
    autocapitalize="off" autocomplete="off" spellcheck="false" ?readonly=${readonly} .value=${live(text)} @input=${take}>`;
}
