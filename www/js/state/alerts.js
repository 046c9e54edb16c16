// Alerts. They are the daemon's: the page shows what it is told and never forgets an open one by itself. Pure.

const RANK = { INVALID: 0, MAJOR: 1, MINOR: 2, NO_ALARM: 3 };

/** 0 is the worst. */
export const rank = (payload) => RANK[payload.severity] ?? 2;

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

/** The alerts that keep commands from `target`, such as `instrument/stage`: rules of the file, while they hold, and those that latch until they are reset. */
export function blocking(map, target) {
  const named = (pattern) => (pattern.endsWith('/*') ? target.startsWith(pattern.slice(0, -1)) : pattern === target);
  const stands = (p) => p.state === 'active' || p.state === 'acknowledged' || (p.latch === true && p.state === 'cleared');
  return [...map.values()].map((e) => e.payload).filter((p) => p.raised_by === 'rule' && Array.isArray(p.blocks) && stands(p) && p.blocks.some(named));
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
