// Value streams: `stream_value` with a short history for the sparkline, and `stream_status` of the feed behind it.

import { ranked } from './keyed.js';

/** Points of a sparkline. */
export const HISTORY = 60;

export const streams = {
  name: 'streams',
  types: ['stream_value', 'stream_status'],
  initial: () => new Map(),
  reduce(before, entries, whole) {
    const after = new Map();
    // A snapshot replaces the values; the points already drawn stay true.
    for (const [id, stream] of before) after.set(id, whole ? { value: null, feed: null, history: stream.history } : stream);
    for (const entry of entries) {
      const id = String(entry.payload.stream_id);
      const stream = after.get(id) ?? { value: null, feed: null, history: [] };
      if (entry.type === 'stream_status') after.set(id, { ...stream, feed: entry });
      else after.set(id, { ...stream, value: entry, history: with_point(stream.history, entry) });
    }
    if (whole) for (const [id, stream] of after) if (!stream.value && !stream.feed) after.delete(id);
    return after;
  },
};

function with_point(history, { id, payload }) {
  if (history.at(-1)?.id === id) return history;
  const value = typeof payload.value === 'number' ? payload.value : null;
  return [...history.slice(-(HISTORY - 1)), { id, value }];
}

const RANK = { INVALID: 0, MAJOR: 0, MINOR: 1 };

/** Those outside their limits first. */
export const shown_streams = (map) => ranked(map, (s) => RANK[s.value?.payload.severity] ?? 2);
