// Which alerts to sound for. Pure.

import { calls, rank, snoozed } from './alerts.js';

/**
 * Which alerts to sound for: those that call and were not heard, or not as bad. `heard` maps ids to {occurrence, rank},
 * null at first: what was there when the page opened is seen, not heard. What is snoozed counts as not heard, so that it
 * sounds when it comes back. Gives the new `heard` and the payloads, worst first.
 */
export function alarms(heard, map, now_ms) {
  const after = new Map();
  const fresh = [];
  for (const { payload } of map.values()) {
    if (snoozed(payload, now_ms)) continue;
    const before = heard?.get(payload.alert_id);
    const same = before?.occurrence === payload.occurrence;
    const mine = rank(payload);
    if (heard && (!same || mine < before.rank) && calls(payload, now_ms) && payload.severity !== 'NO_ALARM') fresh.push(payload);
    after.set(payload.alert_id, { occurrence: payload.occurrence, rank: same ? Math.min(mine, before.rank) : mine });
  }
  return { heard: after, fresh: fresh.sort((a, b) => rank(a) - rank(b)) };
}

/** What several tabs call the same alarm. */
export const alarm_key = ({ alert_id, occurrence, severity }) => `${alert_id}/${occurrence}/${severity}`;
