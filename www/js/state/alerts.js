// Open alerts. They are the daemon's: the page shows what it is told and never forgets one by itself.

const RANK = { INVALID: 0, MAJOR: 1, MINOR: 2, NO_ALARM: 3 };

export const alerts = {
  name: 'alerts',
  types: ['alert'],
  initial: () => new Map(),
  reduce(before, entries, whole) {
    const after = whole ? new Map() : new Map(before);
    for (const entry of entries) {
      const { alert_id, state } = entry.payload;
      if (state === 'closed') after.delete(alert_id);
      else after.set(alert_id, entry);
    }
    return after;
  },
};

/** Those to see to first on top: not acknowledged before acknowledged, worse before less bad, older before newer. */
export function open_alerts(map) {
  const key = ({ payload: p }) => [p.state === 'acknowledged' ? 1 : 0, RANK[p.severity] ?? 2, p.raised_at, p.alert_id];
  return [...map.values()].sort((a, b) => compare(key(a), key(b)));
}

/** How many nobody has acknowledged. */
export const unacknowledged = (map) => [...map.values()].filter((e) => e.payload.state !== 'acknowledged').length;

function compare(a, b) {
  for (let i = 0; i < a.length; i += 1) {
    if (a[i] < b[i]) return -1;
    if (a[i] > b[i]) return 1;
  }
  return 0;
}
