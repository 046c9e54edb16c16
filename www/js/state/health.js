// The box itself: `system_health`, and the outcome of the last change of configuration.

export const health = {
  name: 'health',
  types: ['system_health', 'config_changed'],
  initial: () => ({ box: null, config: null }),
  reduce(before, entries, whole) {
    const after = whole ? { box: null, config: null } : { ...before };
    for (const entry of entries) after[entry.type === 'system_health' ? 'box' : 'config'] = entry;
    return after;
  },
};

/** The clock of the box as {quality, source, offset_s, steps, since}; an older daemon tells the quality alone. */
export function clock_of(payload) {
  const said = payload?.clock;
  if (!said) return null;
  const clock = typeof said === 'string' ? { quality: said } : said;
  return { quality: 'unknown', source: null, offset_s: null, since: null, ...clock, steps: clock.steps ?? [] };
}

/** How many read the box by a stream at this moment: a browser is one, however many tabs; a program is one. Null when it is not told. */
export const readers_of = (payload) => (typeof payload?.clients?.sse === 'number' ? payload.clients.sse : null);

/** Used share of memory, 0..1, from whatever the host tells; null when it can't be known. */
export function memory_used(memory = {}) {
  const total = memory.total ?? memory.total_bytes;
  const available = memory.available ?? memory.available_bytes ?? memory.free;
  if (typeof memory.used_fraction === 'number') return memory.used_fraction;
  return total > 0 && typeof available === 'number' ? 1 - available / total : null;
}
