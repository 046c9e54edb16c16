// The life of a command as the person sees it. Pure.
//
//   sending -> waiting -> confirmed | refused | unconfirmed
//
// Accepted is not done: only a `command_result`, a state that shows the effect, or the daemon's answer that it is
// already so ends it as confirmed. After 10 s without one it is `unconfirmed` and may be retried; an end that comes later still counts.

export const CONFIRM_MS = 10_000;

/** A command as it starts. `key` is target and action: there is one button for it. `asked` is what was sent. */
export function begin({ id, target, action, effect = [], at, asked = null }) {
  return { key: `${target}/${action}`, id, target, action, effect, at, asked, phase: 'sending', taken: false, reason: null };
}

/** Whether it still waits. */
export const pending = (command) => command?.phase === 'sending' || command?.phase === 'waiting';

/**
 * Inputs: answered{state, reason} refused{reason} unsent result{command_id, state, reason} state{target, status} clock{at}.
 * An ended command does not change any more, but for one without a confirmation, whose end may come late.
 */
export function advance(command, input) {
  if (pending(command)) return step(command, input);
  if (command.phase !== 'unconfirmed' || !['state', 'result'].includes(input.type)) return command;
  const after = step(command, input);
  // Word that it is still at it does not make it wait again.
  return pending(after) ? command : after;
}

function step(command, input) {
  switch (input.type) {
    case 'answered':
      if (input.state === 'completed') return end(command, 'confirmed');
      if (input.state === 'accepted') return { ...command, phase: 'waiting', taken: true };
      return outcome(command, input);
    case 'refused': return end(command, 'refused', input.reason);
    case 'unsent': return { ...command, reason: 'unsent' };
    case 'result': return input.command_id === command.id ? outcome(command, input) : command;
    case 'state':
      return input.target === command.target && command.effect.includes(input.status) ? end(command, 'confirmed') : command;
    case 'clock': return input.at - command.at >= CONFIRM_MS ? end(command, 'unconfirmed', command.reason) : command;
    default: return command;
  }
}

function outcome(command, { state, reason }) {
  switch (state) {
    case 'completed': return end(command, 'confirmed');
    case 'timed_out': return end({ ...command, taken: true }, 'unconfirmed', reason);
    case 'rejected': case 'failed': case 'superseded': return end(command, 'refused', reason);
    default: return { ...command, phase: 'waiting', taken: true };
  }
}

const end = (command, phase, reason = null) => ({ ...command, phase, reason });
