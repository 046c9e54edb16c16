// A button that sends a command and shows its life: the doing word at once, the end only when the daemon says so, the
// reason of a refusal, or "No confirmation" with a retry. A button that can't work says why before it is tapped.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { t } from '../core/i18n.js';
import { pending } from '../state/commands.js';
import { act_button } from './act_button.js';
import { confirm } from './dialog.js';
import { icon } from './icon.js';

/**
 * `order` is what Commands.send takes; its `verb` has the words where the action is one of several of a kind. `blocked` is a reason not to offer it, or null. `destructive` is
 * {title, loss, action} for the second step; `pressed` makes it a switch; `held` says that the target itself reports that it
 * is at it, which may take long. Feedback goes below the row: see `command_note`.
 */
export function command_button(app, { order, label, shape, primary = false, blocked = null, destructive = null, name, pressed, held = false }) {
  const command = app.commands.of(order.target, order.action);
  const busy = held || pending(command);
  const doing = t(`action.${order.verb ?? order.action}.doing`);
  return act_button(app, {
    busy, blocked, label, doing, shape, primary, danger: Boolean(destructive), pressed, command: order.action, phase: command?.phase ?? 'none',
    words: name ? `${busy ? doing : label}: ${name}` : undefined,
    tap: async () => (!destructive || (await confirm(destructive))) && app.commands.send(order),
  });
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
