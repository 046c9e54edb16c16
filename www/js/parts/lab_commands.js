// What can be asked of a queue or a scan, as a row of buttons. They follow what the target itself allows; a button that
// can't work says why. While the target reports that it is at it, its button does so too, however long that takes.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { t, word } from '../core/i18n.js';
import { effect } from '../state/lab_queue.js';
import { command_button, command_note } from './command_button.js';

const SHAPES = { start: 'play', pause: 'pause', resume: 'play', stop: 'square', abort: 'octagon-alert' };
/** Actions that are a command with more words: its name and what is sent with it. */
const SPECIAL = { pause_after: ['pause', { mode: 'after_scan' }], abort_on: ['abort', { then: 'continue' }], abort_now: ['abort', { force: true }] };

/**
 * `kind` is queue or scan; `blocked` a reason that holds for all. `rows` are lists of actions, a row each; 'pause_after' is
 * a pause after the scan that runs, 'abort_on' an abort after which the next scan follows, 'abort_now' one that makes an
 * abort which goes on already leave out the clean-up. `sure` are the words of the second step of each abort.
 */
export function lab_commands(app, { kind, id, payload: p, rows, blocked = null, sure }) {
  const target = `${kind}/${id}`;
  const name = p.name ?? id;
  const allowed = Array.isArray(p.allowed_actions) ? p.allowed_actions : [];
  const made = rows.map((actions) => actions.map((action) => {
    const [verb, body] = SPECIAL[action] ?? [action, {}];
    const order = {
      target, action, path: `api/${kind === 'queue' ? 'queues' : 'scans'}/${encodeURIComponent(id)}/${verb}`, effect: effect(kind, verb, p.status), body,
    };
    // Of two buttons for one thing the one that was used shows that it goes on.
    const used = Object.keys(SPECIAL).find((other) => SPECIAL[other][0] === verb && app.commands.of(target, other)) ?? verb;
    const held = p.pending === verb && action === used;
    const may = allowed.includes(verb) || action === 'abort_now';
    return {
      order, held,
      button: command_button(app, {
        order, held, name, shape: SHAPES[verb], label: t(`action.${action}`), primary: (verb === 'start' || verb === 'resume') && allowed.includes(verb),
        blocked: blocked ?? (may ? null : t('action.not_now', { state: word(kind, p.status) })),
        destructive: verb === 'abort' ? sure[action] : null,
      }),
    };
  }));
  return html`${made.map((row, i) => html`<div class="actions lab-commands ${i ? 'apart' : ''}">${row.map(({ button }) => button)}</div>`)}
    <div class="notes">${made.flat().map(({ order, held }) => command_note(app, { order, held }))}</div>
    ${p.pending ? html`<p class="visually-hidden" role="status">${word('pending', p.pending)}</p>` : nothing}`;
}
