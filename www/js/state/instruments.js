// Instruments and their channels: `instrument_status`.

import { keyed_slice, ranked } from './keyed.js';

export const instruments = keyed_slice('instruments', 'instrument_status', 'instrument_id');

const RANK = { error: 0, disconnected: 1 };

/** Those with trouble first, then by id. */
export const shown_instruments = (map) => ranked(map, (e) => RANK[e.payload.status] ?? 2);

/** {connected, error, disconnected}: every state but those two is connected. */
export function instrument_counts(map) {
  const counts = { connected: 0, error: 0, disconnected: 0 };
  for (const { payload } of map.values()) counts[payload.status in counts ? payload.status : 'connected'] += 1;
  return counts;
}

/** The values of an instrument in a row: its channels, or its positions with their targets. */
export function readings(payload) {
  const channels = Object.entries(payload.channels ?? {}).map(([name, channel]) => ({ name, ...channel }));
  const known = new Set(channels.map((c) => c.name));
  const positions = Object.entries(payload.position ?? {})
    .filter(([name]) => !known.has(name))
    .map(([name, value]) => ({ name, value, target: payload.target?.[name] ?? null, quality: 'good' }));
  return [...channels, ...positions];
}
