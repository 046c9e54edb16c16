// A button that asks something of the box: it says why before it is tapped when it can't, and turns while it goes on.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { t } from '../core/i18n.js';
import { icon } from './icon.js';

/** Why nothing can be sent now, or null. */
export function blocked_by(app) {
  if (app.store.link.status === 'offline') return t('action.offline');
  return app.store.may_operate() ? null : t('action.no_role');
}

/**
 * `blocked` is a reason of its own not to offer it, or null; `busy` that it goes on, with `doing` for its label. `words`
 * are what a screen reader says instead of the label. `command`, `phase`, `ask` and `way` are its marks in the page;
 * `pressed` makes it a switch.
 */
export function act_button(app, { busy = false, blocked = null, label, doing, shape, primary = false, danger = false, words, pressed, command, phase, ask, way, tap }) {
  const why = blocked ?? blocked_by(app);
  const off = busy || why !== null;
  return html`<button type="button" class="button ${primary ? 'primary' : ''} ${danger ? 'danger' : ''}"
    data-command=${command ?? nothing} data-phase=${phase ?? nothing} data-ask=${ask ?? nothing} data-way=${way ?? nothing}
    aria-pressed=${pressed === undefined ? nothing : String(pressed)} aria-disabled=${off ? 'true' : 'false'} aria-label=${words ?? nothing} title=${why ?? nothing}
    @click=${() => !off && tap()}>${busy ? html`<span class="spinner" aria-hidden="true"></span>` : shape ? icon(shape) : nothing}${
    label === undefined ? nothing : html`<span>${busy ? doing ?? label : label}</span>`}</button>`;
}
