// The scans of a queue as its page lists them, and what can be done with each. Pure.

import { is_live } from './scans.js';

export { is_live };

/** Ended scans shown below the order. */
export const ENDED = 10;

/** The newer of two payloads of a scan; without revisions the second. */
export function newer(a, b) {
  if (!a || !b) return a ?? b;
  return (b.revision ?? 0) >= (a.revision ?? 0) || !is_live(b.status) ? b : a;
}

/**
 * {order: [{id, scan}], ended: [{id, scan}]}: `asked` are payloads of GET, `scans` the store's entries. A scan of the order
 * that nothing is known of has `scan` null.
 */
export function lists(queue, asked, scans) {
  const known = new Map(asked.map((scan) => [scan.scan_id, scan]));
  for (const [id, { payload }] of scans) if (payload.queue_id === queue.queue_id) known.set(id, newer(known.get(id), payload));
  const live = (scan) => scan && is_live(scan.status);
  const wait = (queue.order ?? []).filter((id) => !known.has(id) || live(known.get(id)));
  const current = queue.current_scan && !wait.includes(queue.current_scan) && live(known.get(queue.current_scan)) ? [queue.current_scan] : [];
  const ended = [...known.values()].filter((scan) => !live(scan)).sort((a, b) => ended_at(b).localeCompare(ended_at(a)) || (a.scan_id < b.scan_id ? 1 : -1));
  return {
    order: [...current, ...wait].map((id) => ({ id, scan: known.get(id) ?? null })),
    ended: ended.slice(0, ENDED).map((scan) => ({ id: scan.scan_id, scan })),
  };
}

const ended_at = (scan) => scan.ended_at ?? scan.timestamp ?? '';

/** Those of the order that wait: they can be moved and taken out. */
export const waiting = (order) => order.filter(({ scan }) => scan?.status === 'queued').map(({ id }) => id);

/** Where `id` goes by `up`, `down` or `front`, as POST .../move takes it; null when it is there. */
export function place(order, id, way) {
  const ids = waiting(order);
  const at = ids.indexOf(id);
  if (at < 0) return null;
  if (way === 'down') return at < ids.length - 1 ? { after: ids[at + 1] } : null;
  if (at === 0) return null;
  return { before: way === 'front' ? ids[0] : ids[at - 1] };
}

// ---- commands ----

const QUEUE_EFFECT = { start: ['running'], pause: ['paused'], resume: ['running'], stop: ['stopping', 'idle', 'completed'], abort: ['paused', 'idle'] };
const SCAN_EFFECT = { start: ['running'], pause: ['paused'], resume: ['running'], stop: ['completed'], abort: ['aborted'] };

/** The states that show that a command had its effect. Not the present one: what is already so shows nothing. */
export function effect(kind, action, status) {
  return ((kind === 'queue' ? QUEUE_EFFECT : SCAN_EFFECT)[action] ?? []).filter((state) => state !== status);
}

/** What a queue does when a scan fails. */
export const ON_FAILURE = ['pause', 'continue'];

/** What can be set of a queue, as it stands or, of none yet, as it is when nothing is chosen. */
export const draft_of = ({ name, on_failure, loop, autostart }) => ({ name: name ?? '', on_failure: on_failure ?? 'pause', loop: loop === true, autostart: autostart === true });

/** Whether a queue can be removed. */
export const removable = ({ status, current_scan }) => ['idle', 'completed', 'paused'].includes(status) && !current_scan;
