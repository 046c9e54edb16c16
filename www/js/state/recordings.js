// The list of recordings as the page holds it: one page of the daemon's answer, kept up to date by `recording_changed`
// without a row changing its place. What is new is counted and shown when the person asks for it. Pure.

/** Rows a page of the list. */
export const PAGE = 100;
export const SORTS = ['started', 'name', 'length', 'size', 'updated'];

/** Every filter with what it is when nothing is asked for. `day` is UTC, `from` and `to` are RFC 3339. */
export const NO_FILTER = Object.freeze({
  text: '', day: '', from: '', to: '', min_s: '', max_s: '', extension: '', trigger: '', pinned: false, bin: false, sort: '-started',
});
const NARROWING = ['text', 'day', 'from', 'to', 'min_s', 'max_s', 'extension', 'trigger', 'pinned'];
/** New ones that are counted one by one; more are "many". */
const FRESH_KEPT = 999;
const TEXT_KEPT = 200;

const CHECK = {
  text: (v) => v.length <= TEXT_KEPT,
  day: (v) => /^\d{4}-\d\d-\d\d$/.test(v),
  from: (v) => !Number.isNaN(Date.parse(v)),
  to: (v) => !Number.isNaN(Date.parse(v)),
  min_s: (v) => /^\d{1,7}(\.\d{1,3})?$/.test(v),
  max_s: (v) => /^\d{1,7}(\.\d{1,3})?$/.test(v),
  extension: (v) => /^[\w-]{1,16}$/.test(v),
  trigger: (v) => v.length <= 64,
  sort: (v) => SORTS.includes(v.replace(/^-/, '')),
};

/** A filter from a URLSearchParams; what is not understood is as if it were not there. */
export function parse_filter(query) {
  const filter = { ...NO_FILTER };
  for (const [name, check] of Object.entries(CHECK)) {
    const value = query.get(name);
    if (value && check(value)) filter[name] = value;
  }
  for (const name of ['pinned', 'bin']) filter[name] = query.get(name) === 'true';
  return filter;
}

/** What differs from `NO_FILTER`, as the daemon and the page's address take it. */
export function filter_query(filter) {
  return Object.fromEntries(Object.entries(filter).filter(([name, value]) => value !== NO_FILTER[name]).map(([name, value]) => [name, String(value)]));
}

/** The same as the text of an address, '' when there is nothing to say. */
export function filter_text(filter) {
  const text = new URLSearchParams(filter_query(filter)).toString();
  return text && `?${text}`;
}

/** How many filters narrow the list; the order and the bin do not count. */
export const narrowing = (filter) => NARROWING.filter((name) => filter[name] !== NO_FILTER[name]).length;

/** Without the filters that narrow. */
export const cleared = (filter) => ({ ...NO_FILTER, bin: filter.bin, sort: filter.sort });

/** Whether a recording would be in the list of this filter; where it does not say, it is. */
export function matches(filter, recording) {
  const r = recording;
  const has = (value) => value !== undefined && value !== null;
  if (Boolean(r.binned_at) !== filter.bin) return false;
  if (filter.pinned && !r.pinned) return false;
  if (filter.extension && has(r.extension) && r.extension !== filter.extension) return false;
  if (filter.day && has(r.day) && r.day !== filter.day) return false;
  if (filter.trigger && has(r.triggers) && !r.triggers.includes(filter.trigger)) return false;
  if (filter.min_s && has(r.duration_s) && r.duration_s < Number(filter.min_s)) return false;
  if (filter.max_s && has(r.duration_s) && r.duration_s > Number(filter.max_s)) return false;
  const at = Date.parse(r.started_at ?? '');
  if (filter.from && at < Date.parse(filter.from)) return false;
  if (filter.to && at > Date.parse(filter.to)) return false;
  const needle = filter.text.toLowerCase();
  return !needle || [r.name, r.label, r.path, r.transcript].some((text) => text?.toLowerCase().includes(needle));
}

/** A list before anything was heard. `status` is loading, ready or error; `missed` says that changes may be lacking. */
export const begin_list = () => ({ status: 'loading', error: null, items: [], total: null, bytes: null, next: null, days: [], extensions: [], triggers: [], summary: null, live: new Map(), fresh: new Set(), missed: false });

/** Takes the daemon's answer. */
export function take_page(list, answer) {
  const items = answer.items ?? [];
  const live = new Map(list.live);
  for (const item of items) keep_live(live, item);
  return {
    ...list, status: 'ready', error: null, items, live, total: answer.total ?? items.length, bytes: answer.bytes ?? null, next: answer.next ?? null,
    days: answer.days ?? [], extensions: answer.extensions ?? [], triggers: answer.triggers ?? [], summary: answer.summary ?? null,
    fresh: new Set(), missed: false,
  };
}

/** Takes only what is counted: totals, storage, what there is to choose from. */
export function take_counts(list, answer) {
  const { total = list.total, bytes = list.bytes, days = list.days, extensions = list.extensions, triggers = list.triggers, summary = list.summary } = answer;
  return { ...list, total, bytes, days, extensions, triggers, summary };
}

function keep_live(live, recording) {
  if (recording.growing && !recording.binned_at) live.set(recording.recording_id, recording);
  else live.delete(recording.recording_id);
}

/** The recording after a change; a purged one is kept as `gone`, so that its row can say so in its place. */
export function changed(before, { change, recording, reason }) {
  const after = { ...before, ...recording };
  if (change === 'purged') return { ...after, gone: true, growing: false };
  if (change === 'failed') return { ...after, error: reason ?? after.error ?? null };
  return after;
}

/** Takes a `recording_changed` payload. */
export function apply_change(list, filter, payload) {
  const id = payload.recording_id;
  const recording = { recording_id: id, ...payload.recording };
  const live = new Map(list.live);
  if (payload.change === 'purged') live.delete(id);
  else keep_live(live, recording);
  const at = list.items.findIndex((item) => item.recording_id === id);
  if (at >= 0) {
    const items = [...list.items];
    items[at] = changed(items[at], payload);
    return { ...list, items, live };
  }
  const fresh = new Set(list.fresh);
  const appears = ['added', 'growing', 'restored', 'clipped', 'binned'].includes(payload.change) && matches(filter, recording);
  if (appears && fresh.size < FRESH_KEPT) fresh.add(id);
  if (payload.change === 'purged' || !matches(filter, recording)) fresh.delete(id);
  return { ...list, fresh, live };
}

/** Recordings being made, newest first. */
export const live_recordings = (list) => [...list.live.values()].sort((a, b) => ((a.started_at ?? '') < (b.started_at ?? '') ? 1 : -1));

/** The ids from `anchor` to `id` in the order of the rows, both included; only `id` when the anchor is not there. */
export function span_of(items, anchor, id) {
  const ids = items.map((item) => item.recording_id);
  const [a, b] = [ids.indexOf(anchor), ids.indexOf(id)];
  return a < 0 || b < 0 ? [id] : ids.slice(Math.min(a, b), Math.max(a, b) + 1);
}

/**
 * The storage of the recordings' disk: {total, parts: [{name, bytes}]} in the order of the bar; null without a disk. What
 * is neither used nor free (reserved by the file system) is in `total` only.
 */
export function storage_parts(summary) {
  const disk = summary?.disk;
  if (!(disk?.total > 0)) return null;
  const pinned = summary.pinned?.bytes ?? 0;
  const bin = summary.bin?.bytes ?? 0;
  const recordings = Math.max(0, (summary.bytes ?? 0) - pinned);
  const free = Math.max(0, disk.free ?? 0);
  const used = disk.used ?? disk.total - free;
  const parts = { recordings, pinned, bin, other: Math.max(0, used - recordings - pinned - bin), free };
  return { total: disk.total, parts: Object.entries(parts).map(([name, bytes]) => ({ name, bytes })) };
}

const MOST_NAME = 120;

/** Why a file name can't be used, as the last part of a key of words, or null. `name` is without its extension. */
export function name_fault(name) {
  const text = name.trim();
  if (!text) return 'empty';
  if (text.length > MOST_NAME) return 'long';
  if (text.startsWith('.')) return 'dot';
  return /[/\\\u0000-\u001f\u007f]/.test(text) ? 'character' : null;
}

/** `take.wav` -> [`take`, `.wav`] */
export function split_name(name, extension) {
  const end = extension ? `.${extension}` : '';
  return end && name.toLowerCase().endsWith(end.toLowerCase()) ? [name.slice(0, -end.length), name.slice(-end.length)] : [name, ''];
}

/** Why a clip can't be made of these seconds, or null. */
export function clip_fault({ start_s, end_s }, duration_s) {
  if (start_s === null || end_s === null) return 'time';
  if (end_s - start_s < 0.1) return 'short';
  return typeof duration_s === 'number' && end_s > duration_s + 0.05 ? 'beyond' : null;
}
