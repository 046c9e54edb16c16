// Queues: `queue_status`.

import { ranked, reduce_keyed } from './keyed.js';

const keyed = reduce_keyed('queue_id');

export const queues = {
  name: 'queues',
  types: ['queue_status'],
  initial: () => new Map(),
  reduce(before, entries, whole) {
    const after = keyed(before, entries, whole);
    for (const [id, { payload }] of after) if (payload.removed) after.delete(id);
    return after;
  },
};

const RANK = { running: 0, stopping: 1, paused: 2, idle: 3, completed: 4 };

/** The queues worth a place, in an order that only changes with their state. */
export function top_queues(map, most) {
  return ranked(map, (e) => RANK[e.payload.status] ?? 5).slice(0, most);
}

/** 0..1 of the whole queue; the daemon's own figure where it gives one. */
export function queue_progress({ progress, completed_scans, total_scans }) {
  if (typeof progress === 'number') return progress;
  return total_scans > 0 ? completed_scans / total_scans : null;
}
