// Alerts. They are the daemon's: the page shows what it is told and never forgets an open one by itself. Pure.

const RANK = { INVALID: 0, MAJOR: 1, MINOR: 2, NO_ALARM: 3 };
const rank = (payload) => RANK[payload.severity] ?? 2;

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

/** Whether an alert is put off at this moment: until a time, or until the daemon starts again. */
export function snoozed({ snoozed_until: until }, now_ms) {
  if (!until) return false;
  if (until === 'restart') return true;
  const ms = Date.parse(until);
  return Number.isNaN(ms) || now_ms === null || now_ms === undefined || ms > now_ms;
}

/** Whether an alert asks for a person: nobody has acknowledged it or put it off. */
export const calls = (payload, now_ms) => payload.state !== 'acknowledged' && payload.state !== 'closed' && !snoozed(payload, now_ms);

/** How many call, and the worst severity among them. */
export function calling(map, now_ms) {
  const all = [...map.values()].filter((e) => calls(e.payload, now_ms)).map((e) => e.payload);
  const worst = all.reduce((least, p) => (least === null || rank(p) < rank(least) ? p : least), null);
  return { count: all.length, worst: worst?.severity ?? null };
}

/** Those to see to first on top: calling before known, worse before less bad, older before newer. */
export function open_alerts(map, now_ms) {
  const key = ({ payload: p }) => [calls(p, now_ms) ? 0 : 1, rank(p), p.raised_at, p.alert_id];
  return [...map.values()].sort((a, b) => compare(key(a), key(b)));
}

function compare(a, b) {
  for (let i = 0; i < a.length; i += 1) {
    if (a[i] < b[i]) return -1;
    if (a[i] > b[i]) return 1;
  }
  return 0;
}

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

// ---- the sound ----

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

// ---- history ----

/** One row an occurrence: of several records of one, the newest. `rows` is newest first; `items` are older, or newer. */
export function with_history(rows, items, { newer = false } = {}) {
  const all = newer ? [...items, ...rows] : [...rows, ...items];
  const there = new Set();
  return all.filter((p) => {
    const key = `${p.alert_id}/${p.occurrence}`;
    return there.has(key) ? false : there.add(key);
  });
}
