// How something asked for went (core/asking.js), and a button that asks.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { t } from '../core/i18n.js';
import { act_button } from './act_button.js';
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

/** As `act_button`; `name` is that of the request in `asking`. */
export function ask_button(app, asking, { name, ...button }) {
  return act_button(app, { ...button, ask: name, busy: asking.busy.has(name) });
}
