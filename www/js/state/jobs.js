// Jobs: `job_status`. Ended ones are kept only as far as the page shows them.

import { ranked, reduce_keyed } from './keyed.js';

const ENDED_KEPT = 20;
const RANK = { running: 0, queued: 1, failed: 2, cancelled: 3, completed: 4 };
const keyed = reduce_keyed('job_id');

const ended = (entry) => !['running', 'queued'].includes(entry.payload.status);

export const jobs = {
  name: 'jobs',
  types: ['job_status'],
  initial: () => new Map(),
  reduce(before, entries, whole) {
    const after = keyed(before, entries, whole);
    const old = [...after].filter(([, e]) => ended(e)).sort((a, b) => b[1].born - a[1].born).slice(ENDED_KEPT);
    for (const [id] of old) after.delete(id);
    return after;
  },
};

/** Running first, then waiting, then failed ones, then the newest that ended. */
export function shown_jobs(map, most) {
  return ranked(map, (e) => (RANK[e.payload.status] ?? 5) * 1e12 - (ended(e) ? e.born : 0)).slice(0, most);
}

/** How many are running, waiting (of those: put off), failed. */
export function job_counts(map) {
  const counts = { running: 0, queued: 0, failed: 0, deferred: 0 };
  for (const { payload } of map.values()) {
    if (payload.status in counts) counts[payload.status] += 1;
    if (payload.status === 'queued' && payload.deferred) counts.deferred += 1;
  }
  return counts;
}
