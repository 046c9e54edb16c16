// What a stream's panel shows. Pure.

import { HISTORY } from './streams.js';

const known = (value) => (typeof value === 'number' && Number.isFinite(value) ? value : null);

/** {low_alarm, low, high, high_alarm}, null where there is none; from `{low, high, low_alarm, high_alarm}` or
 * `{warning: {low, high}, alarm: {low, high}}`. Null when there are none at all. */
export function bands(limits) {
  const { warning = {}, alarm = {} } = limits ?? {};
  const all = {
    low_alarm: known(limits?.low_alarm ?? alarm.low), low: known(limits?.low ?? warning.low),
    high: known(limits?.high ?? warning.high), high_alarm: known(limits?.high_alarm ?? alarm.high),
  };
  return Object.values(all).some((v) => v !== null) ? all : null;
}

/** A bar of the limits: zones [{from, to, tone}] and the place of the value, in shares of its length; `at` is null without one. */
export function limit_bar(all, value) {
  const levels = Object.values(all).filter((v) => v !== null);
  const inside = [...levels, ...(known(value) === null ? [] : [value])];
  let [least, most] = [Math.min(...inside), Math.max(...inside)];
  const room = (most - least) * 0.12 || Math.abs(most) * 0.1 || 1;
  least -= room;
  most += room;
  const share = (v) => (v - least) / (most - least);
  const { low_alarm, low, high, high_alarm } = all;
  const zones = [];
  const zone = (from, to, tone) => to > from && zones.push({ from: share(from), to: share(to), tone });
  if (low_alarm !== null) zone(least, low_alarm, 'bad');
  if (low !== null) zone(low_alarm ?? least, low, 'warn');
  zone(low ?? low_alarm ?? least, high ?? high_alarm ?? most, 'good');
  if (high !== null) zone(high, high_alarm ?? most, 'warn');
  if (high_alarm !== null) zone(high_alarm, most, 'bad');
  return { zones, at: known(value) === null ? null : Math.min(1, Math.max(0, share(value))) };
}

/** How the value is to be read: `waiting` (none ever came), `none` (it has expired), `last` (the last good one) or `value`. */
export function reading(entry) {
  if (!entry) return { kind: 'waiting', value: null };
  const { value, quality, previous } = entry.payload;
  if (known(value) === null) return known(previous) === null ? { kind: 'waiting', value: null } : { kind: 'none', value: previous };
  return { kind: quality && quality !== 'good' ? 'last' : 'value', value };
}

/** A panel's own points, when it asks for itself: {at, value}, the newest {@link HISTORY}. */
export function with_reading(points, entry) {
  const at = entry.payload.timestamp;
  if (points.at(-1)?.at === at) return points;
  return [...points.slice(-(HISTORY - 1)), { at, value: known(entry.payload.value) }];
}

/** Answer of the history as columns for a chart: time in s, and of each span its least and its greatest, in that order. */
export function history_columns(items) {
  const x = [];
  const y = [];
  for (const { t, n, min, max, last } of items) {
    x.push(t / 1_000);
    y.push(n === 1 ? last : min);
    if (n > 1 && max !== min) {
      x.push(t / 1_000);
      y.push(max);
    }
  }
  return [x, y];
}

/** Lines of the limits, as a chart takes them. */
export const limit_lines = (all, word) => (all === null ? [] : Object.entries(all).filter(([, at]) => at !== null)
  .map(([name, at]) => ({ at, tone: name.endsWith('_alarm') ? 'bad' : 'warn', label: word(name) })));

/** Those that match a text and a state: '' all, `trouble` those that are not live. By name, so that none changes its place. */
export function matching(streams, { text = '', state = '' }) {
  const wanted = text.trim().toLowerCase();
  const name = ([id, stream]) => String(stream.feed?.payload.name ?? id);
  return [...streams.entries()]
    .filter(([id, stream]) => !wanted || `${id} ${name([id, stream])}`.toLowerCase().includes(wanted))
    .filter(([, stream]) => state !== 'trouble' || stream.feed?.payload.status !== 'live')
    .sort((a, b) => name(a).localeCompare(name(b)) || (a[0] < b[0] ? -1 : 1))
    .map(([id]) => id);
}
