// How something asked for went (core/asking.js), and a button that asks.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { t } from '../core/i18n.js';
import { blocked_by } from './command_button.js';
import { icon } from './icon.js';

/** The line about `name`, or nothing. */
export function asked_note(asking, name) {
  const note = asking.notes.get(name);
  if (!note) return nothing;
  const text = note.text ?? (note.reason ? t('action.refused', { reason: note.reason }) : t('action.unsent'));
  const shape = { good: 'check', warn: 'triangle-alert', bad: 'circle-x' }[note.tone];
  return html`<p class="note" data-tone=${note.tone} data-asked=${name} role="status">${icon(shape)}<span>${text}</span>
    <button type="button" class="button small" @click=${() => asking.dismiss(name)}>${t('action.dismiss')}</button></p>`;
}

/** `blocked` is a reason not to offer it, or null. */
export function ask_button(app, asking, { name, label, doing, shape, primary = false, danger = false, blocked = null, words, tap }) {
  const busy = asking.busy.has(name);
  const why = blocked ?? blocked_by(app);
  const off = busy || why !== null;
  return html`<button type="button" class="button ${primary ? 'primary' : ''} ${danger ? 'danger' : ''}" data-ask=${name} aria-disabled=${off ? 'true' : 'false'}
    title=${why ?? nothing} aria-label=${words ?? nothing} @click=${() => !off && tap()}>${busy ? html`<span class="spinner" aria-hidden="true"></span>` : shape ? icon(shape) : nothing}${
    label === undefined ? nothing : html`<span>${busy ? doing ?? label : label}</span>`}</button>`;
}
