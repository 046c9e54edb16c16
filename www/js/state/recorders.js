// Recorders: `recorder_status`. Besides the newest status an entry keeps the last levels, for their course, and the last
// status that had a level: what is shown, with its age, while the recorder can't be reached.

import { reduce_keyed } from './keyed.js';

/** Levels kept for the course. */
export const LEVELS = 240;
/** The slope is that of the last half minute; shorter says nothing. */
const SLOPE_S = 30;
const SLOPE_LEAST_S = 10;

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

/** Change of the level in dB a minute: as reported, else from the last levels; null when it can't be told. */
export function trend(entry) {
  const said = entry.payload.trend_db_per_min;
  if (typeof said === 'number') return said;
  const last = entry.levels?.at(-1)?.at;
  const points = (entry.levels ?? []).filter((p) => last - p.at <= SLOPE_S * 1_000);
  if (points.length < 5 || last - points[0].at < SLOPE_LEAST_S * 1_000) return null;
  const mean = (of) => points.reduce((sum, p) => sum + of(p), 0) / points.length;
  const [x, y] = [mean((p) => p.at), mean((p) => p.value)];
  const spread = points.reduce((sum, p) => sum + (p.at - x) ** 2, 0);
  return spread === 0 ? null : (points.reduce((sum, p) => sum + (p.at - x) * (p.value - y), 0) / spread) * 60_000;
}

/** Names of the recorders that are recording now, as far as `fresh(entry)` says that this is known. */
export function recording_names(map, fresh) {
  return [...map].filter(([, e]) => is_recording(e.payload.status) && fresh(e)).map(([id, e]) => e.payload.name || id).sort();
}

/** In the order of their ids. */
export const shown_recorders = (map) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
