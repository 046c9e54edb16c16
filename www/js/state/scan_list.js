// The list of scans: a page of what was asked for, with live states laid over it where it stands. Pure.

import { newer } from './lab_queue.js';

export const NONE = { queue_id: '', status: '', text: '' };
export const STATUSES = ['queued', 'running', 'paused', 'completed', 'aborted', 'failed'];
/** Rows of a page. */
export const PAGE = 50;
const TEXT_MOST = 200;

/** A filter from an address. */
export function filter_of(query) {
  const status = query.get('status') ?? '';
  return { queue_id: query.get('queue_id') ?? '', status: STATUSES.includes(status) ? status : '', text: (query.get('text') ?? '').slice(0, TEXT_MOST) };
}

export const narrowed = (filter) => Object.keys(NONE).some((key) => filter[key] !== '');

/** The address of a filter. */
export function query_of(filter) {
  const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value)).toString();
  return query ? `?${query}` : '';
}

/** The rows with the newest state of each; none moves, none goes. */
export const overlaid = (items, scans) => items.map((item) => newer(item, scans.get(item.scan_id)?.payload));

/** Scans that began after the list was asked for and that pass its filter. */
export function fresh(items, scans, filter, seen) {
  return [...scans.values()].map((e) => e.payload).filter((p) => !seen.has(p.scan_id) && !items.some((i) => i.scan_id === p.scan_id) && passes(p, filter));
}

export function passes(scan, { queue_id, status, text }) {
  if (queue_id && scan.queue_id !== queue_id) return false;
  if (status && scan.status !== status) return false;
  return !text || [scan.scan_id, scan.name, scan.message].some((said) => said?.toLowerCase().includes(text.toLowerCase()));
}
