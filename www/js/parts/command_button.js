// A button that sends a command and shows its life: the doing word at once, the end only when the daemon says so, the
// reason of a refusal, or "No confirmation" with a retry. A button that can't work says why before it is tapped.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { t } from '../core/i18n.js';
import { pending } from '../state/commands.js';
import { confirm } from './dialog.js';
import { icon } from './icon.js';

/**
 * `order` is what Commands.send takes; its `verb` has the words where the action is one of several of a kind. `blocked` is a reason not to offer it, or null. `destructive` is
 * {title, loss, action} for the second step; `pressed` makes it a switch; `held` says that the target itself reports that it
 * is at it, which may take long. Feedback goes below the row: see `command_note`.
 */
export function command_button(app, { order, label, shape, primary = false, blocked = null, destructive = null, name, pressed, held = false }) {
  const command = app.commands.of(order.target, order.action);
  const waits = held || pending(command);
  const reason = blocked ?? blocked_by(app);
  const off = waits || reason !== null;
  const tap = async () => {
    if (off || (destructive && !(await confirm(destructive)))) return;
    app.commands.send(order);
  };
  const text = waits ? t(`action.${order.verb ?? order.action}.doing`) : label;
  return html`<button type="button" class="button ${primary ? 'primary' : ''} ${destructive ? 'danger' : ''}"
    data-command=${order.action} aria-pressed=${pressed === undefined ? nothing : String(pressed)} data-phase=${command?.phase ?? 'none'}
    aria-disabled=${off ? 'true' : 'false'} aria-label=${name ? `${text}: ${name}` : nothing} title=${reason ?? nothing} @click=${tap}
    >${waits ? html`<span class="spinner" aria-hidden="true"></span>` : shape ? icon(shape) : nothing}<span>${text}</span></button>`;
}

/** How the last command of a button ended, if there is something to say. */
export function command_note(app, { order, held = false }) {
  const { target, action } = order;
  const verb = t(`action.${order.verb ?? action}`);
  const command = app.commands.of(target, action);
  if (!command || pending(command) || (held && command.taken && command.phase === 'unconfirmed')) return nothing;
  const dismiss = () => app.commands.dismiss(target, action);
  switch (command.phase) {
    case 'confirmed':
      return html`<p class="note" data-tone="good" role="status">${icon('check')}<span>${verb}: ${t('action.confirmed')}</span></p>`;
    case 'refused':
      return html`<p class="note" data-tone="bad" role="status">${icon('circle-x')}<span>${verb}: ${command.reason
        ? t('action.refused', { reason: command.reason }) : t('action.refused.plain')}</span>
        <button type="button" class="button small" @click=${dismiss}>${t('action.dismiss')}</button></p>`;
    default:
      return html`<p class="note" data-tone="warn" role="status">${icon('triangle-alert')}<span>${verb}: ${
        t(command.reason === 'unsent' ? 'action.unsent' : 'action.unconfirmed')}</span>
        <button type="button" class="button small" data-retry @click=${() => app.commands.retry(order)}>${t('action.retry')}</button>
        <button type="button" class="button small" @click=${dismiss}>${t('action.dismiss')}</button></p>`;
  }
}

/** Why nothing can be sent now, or null. */
export function blocked_by(app) {
  if (app.store.link.status === 'offline') return t('action.offline');
  return app.store.may_operate() ? null : t('action.no_role');
}
