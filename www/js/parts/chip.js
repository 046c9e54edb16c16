// A state as word + shape + colour, never colour alone.

import { html } from '../../vendor/lit-html/lit-html.js';
import { word } from '../core/i18n.js';
import { icon } from './icon.js';

/** kind -> value -> [tone, shape]. Tones: good, busy, warn, bad, off. */
const LOOK = {
  conn: {
    connecting: ['off', 'circle-dashed'], live: ['good', 'wifi'], reconnecting: ['warn', 'refresh-cw'],
    polling: ['busy', 'clock'], offline: ['bad', 'wifi-off'],
  },
  recorder: {
    idle: ['off', 'circle-dashed'], armed: ['busy', 'circle'], recording: ['good', 'circle-dot'], hold: ['busy', 'circle-pause'],
    stopped: ['off', 'square'], fault: ['bad', 'octagon-alert'], offline: ['bad', 'circle-slash'],
  },
  job: {
    queued: ['off', 'clock'], running: ['busy', 'play'], completed: ['good', 'circle-check'], failed: ['bad', 'circle-x'],
    cancelled: ['off', 'circle-slash'],
  },
  queue: {
    idle: ['off', 'circle-dashed'], running: ['good', 'play'], paused: ['warn', 'circle-pause'], stopping: ['warn', 'square'],
    completed: ['off', 'circle-check'],
  },
  scan: {
    queued: ['off', 'clock'], running: ['good', 'play'], paused: ['warn', 'circle-pause'], completed: ['good', 'circle-check'],
    aborted: ['warn', 'square'], failed: ['bad', 'circle-x'],
  },
  instrument: {
    connected: ['good', 'circle-check'], idle: ['good', 'circle'], moving: ['busy', 'move'], measuring: ['busy', 'circle-dot'],
    error: ['bad', 'octagon-alert'], disconnected: ['bad', 'circle-slash'],
  },
  stream: {
    connecting: ['off', 'circle-dashed'], live: ['good', 'circle-dot'], stale: ['warn', 'clock'], fallback: ['warn', 'refresh-cw'],
    offline: ['bad', 'circle-slash'],
  },
  severity: {
    NO_ALARM: ['good', 'circle-check'], MINOR: ['warn', 'triangle-alert'], MAJOR: ['bad', 'octagon-alert'], INVALID: ['bad', 'circle-x'],
  },
  alert: {
    NO_ALARM: ['busy', 'info'], MINOR: ['warn', 'triangle-alert'], MAJOR: ['bad', 'octagon-alert'], INVALID: ['bad', 'circle-x'],
  },
  service: {
    active: ['good', 'circle-check'], running: ['good', 'circle-check'], inactive: ['off', 'circle-slash'], failed: ['bad', 'circle-x'],
    activating: ['busy', 'circle-dashed'], waiting: ['busy', 'clock'],
  },
  source: {
    absent: ['bad', 'circle-slash'], opening: ['off', 'circle-dashed'], no_data: ['off', 'clock'], ok: ['good', 'circle-check'],
    stale: ['warn', 'clock'], error: ['bad', 'octagon-alert'], disabled: ['off', 'minus'],
  },
  clock: { synced: ['good', 'circle-check'], manual: ['busy', 'clock'], unsynced: ['warn', 'triangle-alert'], unknown: ['off', 'circle-dashed'] },
  alert_state: { acknowledged: ['off', 'check'] },
  rule: {
    ok: ['good', 'circle-check'], pending: ['busy', 'clock'], firing: ['bad', 'triangle-alert'], 'no data': ['warn', 'circle-dashed'],
    off: ['off', 'minus'],
  },
  delivery: { sent: ['good', 'check'], waiting: ['busy', 'clock'], failed: ['bad', 'circle-x'], idle: ['off', 'minus'] },
  quality: { uncertain: ['warn', 'triangle-alert'], bad: ['bad', 'circle-x'] },
  discrepancy: {
    missing: ['bad', 'circle-x'], low: ['warn', 'arrow-down'], over: ['warn', 'arrow-up'], misplaced: ['warn', 'move'], extra: ['warn', 'plus'],
  },
  signals: { live: ['good', 'circle-dot'], off: ['off', 'circle-pause'] },
};

/** Tone and shape of a state; a word we do not know is shown as it is, neutral. */
export const look = (kind, value) => LOOK[kind]?.[value] ?? ['off', 'diamond'];

/** The chip: `quiet` leaves out the coloured ground, `pulse` marks that it has just become what it is. */
export function chip(kind, value, { quiet = false, text, pulse = false } = {}) {
  const [tone, shape] = look(kind, value);
  return html`<span class="chip ${quiet ? 'quiet' : ''}" data-tone=${tone} ?data-pulse=${pulse}>${icon(shape)}<span>${text ?? word(kind, value)}</span></span>`;
}

/** The state of one of many, in its row: pulses once when it becomes another. */
export const badge = (app, kind, id, value) => chip(kind, value, { quiet: true, pulse: app.changes.of(`${kind}/${id}`, value) });
