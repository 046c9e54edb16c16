// The list of detections: what narrows it, what the histogram says, what the sketch draws. Pure.

/** Nothing is narrowed. `since` is a span back from now, s. */
export const NO_FILTER = { sku: '', label: '', location: '', since: '', from: '', to: '', min_confidence: 0 };
export const SPANS = [900, 3_600, 86_400, 7 * 86_400];
export const PAGE = 25;
const TEXTS = ['sku', 'label', 'location'];

/** From the query of an address; what makes no sense is left out. */
export function parse_filter(query) {
  const text = (name) => (query.get(name) ?? '').slice(0, 200);
  const time = (name) => (Number.isNaN(Date.parse(text(name))) ? '' : text(name));
  const least = Number(text('min_confidence'));
  return {
    ...Object.fromEntries(TEXTS.map((name) => [name, text(name)])),
    since: SPANS.includes(Number(text('since'))) ? Number(text('since')) : '',
    from: time('from'), to: time('to'),
    min_confidence: least > 0 && least <= 1 ? least : 0,
  };
}

/** The filter as an address has it: only what narrows. */
export const filter_text = (filter) => {
  const said = new URLSearchParams(Object.entries(filter).filter(([name, v]) => v !== NO_FILTER[name]).map(([name, v]) => [name, String(v)])).toString();
  return said ? `?${said}` : '';
};

/** What the daemon is asked; `now_ms` is its clock. Without the threshold for what the threshold is chosen by. */
export function filter_query(filter, now_ms, { threshold = true } = {}) {
  const { sku, label, location, since, from, to, min_confidence } = filter;
  const begin = since ? new Date(now_ms - since * 1_000).toISOString() : from;
  return {
    sku, label, location, from: begin, to: since ? '' : to, min_confidence: threshold && min_confidence ? String(min_confidence) : '',
  };
}

export const narrows = (filter) => Object.keys(NO_FILTER).some((name) => filter[name] !== NO_FILTER[name]);

/** Of the bars of a histogram from 0 to 1: {all, above} at or above `least`, which is the edge of a bar. */
export function above(histogram, least) {
  const first = Math.round(least * histogram.length);
  const sum = (bars) => bars.reduce((a, n) => a + n, 0);
  return { all: sum(histogram), above: sum(histogram.slice(first)) };
}

/** Bars for drawing: heights as shares of the highest, and whether they are at or above `least`. */
export function bars(histogram, least) {
  const most = Math.max(1, ...histogram);
  const first = Math.round(least * histogram.length);
  return histogram.map((n, i) => ({ n, height: n / most, above: i >= first }));
}

/** The look that a detection belongs to, as far as it is in the list: those of its frame, or at its moment. */
export function look_of(items, id) {
  const one = items.find((d) => d.detection_id === id) ?? items[0];
  if (!one) return { one: null, others: [] };
  const same = (d) => d !== one && d.location === one.location && d.source === one.source && (one.frame ? d.frame === one.frame : d.timestamp === one.timestamp);
  return { one, others: items.filter(same) };
}

/** A box in a picture of 160 x 90, kept within it; null without one. */
export function place(box) {
  if (!box || ![box.x, box.y, box.w, box.h].every((v) => typeof v === 'number' && Number.isFinite(v))) return null;
  const clamp = (v) => Math.min(1, Math.max(0, v));
  const [x, y, right, bottom] = [clamp(box.x), clamp(box.y), clamp(box.x + box.w), clamp(box.y + box.h)];
  return { x: 160 * x, y: 90 * y, width: Math.max(0.5, 160 * (right - x)), height: Math.max(0.5, 90 * (bottom - y)) };
}

/** A link that may be followed by hand: http or https, nothing else; null otherwise. */
export function link(text) {
  try {
    const url = new URL(text);
    return ['http:', 'https:'].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** Discrepancies in the order of their places. */
const KINDS = ['missing', 'low', 'over', 'misplaced', 'extra'];
export const ordered = (discrepancies) => [...discrepancies].sort((a, b) => (a.location < b.location ? -1 : a.location > b.location ? 1 : KINDS.indexOf(a.type) - KINDS.indexOf(b.type) || (a.sku < b.sku ? -1 : 1)));

/** Vision processes that could not look, newest trouble first by id. */
export const failing = (sources) => [...sources.entries()].filter(([, e]) => e.payload.kind === 'vision' && e.payload.status === 'error').map(([id, entry]) => ({ id, entry }));
