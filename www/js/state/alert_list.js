// The lists of the alerts page: the open ones as they stand on the screen, and what was. Pure.

import { open_alerts } from './alerts.js';

/**
 * The list as it stands on the screen. While a person is at it (`held`), what is there stays where it is, also what was
 * closed meanwhile, and what is new comes below. `shown` is the list before, or null.
 */
export function arrange(shown, map, now_ms, held) {
  const sorted = open_alerts(map, now_ms);
  if (!held || !shown) return sorted;
  const kept = shown.map((entry) => map.get(entry.payload.alert_id) ?? closed(entry));
  const there = new Set(shown.map((entry) => entry.payload.alert_id));
  return [...kept, ...sorted.filter((entry) => !there.has(entry.payload.alert_id))];
}

const closed = (entry) => (entry.payload.state === 'closed' ? entry : { ...entry, payload: { ...entry.payload, state: 'closed' } });

/** One row an occurrence: of several records of one, the newest. `rows` is newest first; `items` are older, or newer. */
export function with_history(rows, items, { newer = false } = {}) {
  const all = newer ? [...items, ...rows] : [...rows, ...items];
  const there = new Set();
  return all.filter((p) => {
    const key = `${p.alert_id}/${p.occurrence}`;
    return there.has(key) ? false : there.add(key);
  });
}
