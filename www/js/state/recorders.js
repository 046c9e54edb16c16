// Recorders: `recorder_status`. Besides the newest status an entry keeps the last levels, for their course, and the last
// status that had a level: what is shown, with its age, while the recorder can't be reached.

import { reduce_keyed } from './keyed.js';

/** Levels kept for the course. */
export const LEVELS = 240;
/** Seconds that are compared. */
const NOW_S = 5;
const BEFORE_S = 30;

const keyed = reduce_keyed('recorder_id');

export const recorders = {
  name: 'recorders',
  types: ['recorder_status'],
  initial: () => new Map(),
  reduce(before, entries, whole) {
    // What a snapshot does not know, the levels of before, is kept.
    let after = whole ? new Map() : before;
    for (const entry of entries) {
      const id = String(entry.payload.recorder_id);
      const known = after.get(id) ?? before.get(id);
      after = keyed(after, [follow(known, entry)], false);
    }
    return after;
  },
};

function follow(known, entry) {
  const { level_db, threshold_db } = entry.payload;
  const heard = typeof level_db === 'number';
  const levels = known?.levels ?? [];
  return {
    ...entry,
    levels: heard ? [...levels.slice(1 - LEVELS), { at: entry.born, value: level_db, threshold: threshold_db ?? null }] : levels,
    heard: heard ? entry : known?.heard ?? null,
  };
}

/** What may be asked of a recorder: what it says itself, else what its state allows. */
export function actions_of(status, allowed) {
  if (Array.isArray(allowed)) return allowed;
  switch (status) {
    case 'recording': case 'hold': return ['split', 'stop'];
    case 'idle': case 'armed': case 'stopped': return ['start'];
    default: return [];
  }
}

/** The states that show that an action had its effect. A split shows only by its `command_result`. */
export const EFFECT = { start: ['recording', 'hold'], stop: ['idle', 'armed', 'stopped'] };

export const is_recording = (status) => status === 'recording' || status === 'hold';

/** Where a recorder does not report its trend: how much louder the last seconds are than the half minute before, dB, or null. */
export function louder(entry) {
  const points = entry.levels ?? [];
  const last = points.at(-1)?.at;
  const mean = (from_s, to_s) => {
    const part = points.filter((p) => last - p.at >= from_s * 1_000 && last - p.at < to_s * 1_000);
    return part.length < 3 ? null : part.reduce((sum, p) => sum + p.value, 0) / part.length;
  };
  const [now, before] = [mean(0, NOW_S), mean(NOW_S, NOW_S + BEFORE_S)];
  return now === null || before === null ? null : now - before;
}

/** Names of the recorders that are recording now, as far as `fresh(entry)` says that this is known. */
export function recording_names(map, fresh) {
  return [...map].filter(([, e]) => is_recording(e.payload.status) && fresh(e)).map(([id, e]) => e.payload.name || id).sort();
}

/** In the order of their ids. */
export const shown_recorders = (map) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
