// Scans: `scan_status`. There may be thousands; ended ones are kept only as far as the page shows them.

import { ranked, reduce_keyed } from './keyed.js';

const ENDED_KEPT = 200;
const keyed = reduce_keyed('scan_id');

/** Whether a scan in this state has not ended. */
export const is_live = (status) => ['queued', 'running', 'paused'].includes(status);
const ended = (entry) => !is_live(entry.payload.status);

export const scans = {
  name: 'scans',
  types: ['scan_status'],
  initial: () => new Map(),
  reduce(before, entries, whole) {
    const after = keyed(before, entries, whole);
    if (after.size > ENDED_KEPT) {
      const old = [...after].filter(([, e]) => ended(e)).sort((a, b) => b[1].born - a[1].born).slice(ENDED_KEPT);
      for (const [id] of old) after.delete(id);
    }
    return after;
  },
};

/** Running and paused scans. */
export function running_scans(map) {
  const active = new Map([...map].filter(([, e]) => ['running', 'paused'].includes(e.payload.status)));
  return ranked(active, (e) => (e.payload.status === 'running' ? 0 : 1));
}
