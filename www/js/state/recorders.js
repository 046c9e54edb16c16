// Recorders: `recorder_status`.

import { keyed_slice } from './keyed.js';

export const recorders = keyed_slice('recorders', 'recorder_status', 'recorder_id');

/** What may be asked of a recorder in this state. */
export function actions_of(status) {
  switch (status) {
    case 'recording': case 'hold': return ['split', 'stop'];
    case 'idle': case 'armed': case 'stopped': return ['start'];
    default: return [];
  }
}

/** The states that show that an action had its effect. A split shows only by its `command_result`. */
export const EFFECT = { start: ['recording', 'hold'], stop: ['idle', 'armed', 'stopped'] };
