// What most slices are: the newest entry of every id. Pure.

/** `reduce(map, entries, whole)` for a Map of id -> entry. `whole` entries replace all that was known. */
export function reduce_keyed(id_field) {
  return (before, entries, whole) => {
    const after = whole ? new Map() : new Map(before);
    for (const entry of entries) after.set(String(entry.payload[id_field]), entry);
    return after;
  };
}

/** A slice that is nothing else. */
export function keyed_slice(name, type, id_field) {
  return { name, types: [type], initial: () => new Map(), reduce: reduce_keyed(id_field) };
}

/** Sorts by `rank(entry)`, then by id, so that equal ones never change places. */
export function ranked(map, rank) {
  return [...map.entries()]
    .map(([id, entry]) => ({ id, entry, rank: rank(entry) }))
    .sort((a, b) => a.rank - b.rank || (a.id < b.id ? -1 : 1));
}
