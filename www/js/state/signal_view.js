// What the page of a signal shows: the samples it holds, and the part of time that is looked at. Pure.

/** Samples held at most: what the daemon keeps in memory of one signal. */
export const MOST = 4_000;
/** Lengths of what is looked at, s. */
export const WINDOWS = [30, 60, 300, 900, 3_600, 6 * 3_600, 86_400];
/** Room kept free for what comes, as a share of the window. */
export const PADS = [0, 0.05, 0.1, 0.25];
/** The bounds that the daemon sets to what may be asked for. */
export const BOUNDS = { interval_s: [1, 60], batch_size: [1, 1_000], window: [2, 1_000], threshold: [0.5, 20] };
const WHOLE = ['batch_size', 'window'];

/** Follows the newest sample. `end_ms` is where the samples end when it does not; `frozen` keeps what is shown as it is. */
export const start = () => ({ window_s: 60, pad: 0.05, end_ms: null, frozen: null });

/** [from, to] in ms of what is looked at; null while nothing is known. */
export function range(view, newest_ms) {
  const end = view.frozen ?? view.end_ms ?? newest_ms;
  if (end === null || end === undefined) return null;
  const to = end + view.pad * view.window_s * 1_000;
  return [to - view.window_s * 1_000, to];
}

const still = (view, end_ms, newest_ms) => ({ ...view, end_ms: end_ms >= newest_ms ? null : end_ms });
const end_of = (view, newest_ms) => view.end_ms ?? newest_ms;
export const back = (view, newest_ms) => ({ ...view, end_ms: end_of(view, newest_ms) - view.window_s * 500 });
export const forward = (view, newest_ms) => still(view, end_of(view, newest_ms) + view.window_s * 500, newest_ms);
export const follow = (view) => ({ ...view, end_ms: null });
/** The newest sample in the middle, and it stays there. */
export const recentre = (view, newest_ms) => ({ ...view, end_ms: newest_ms + view.window_s * 1_000 * (0.5 - view.pad) });
export const freeze = (view, newest_ms) => ({ ...view, frozen: view.frozen === null ? end_of(view, newest_ms) : null });
export const follows = (view) => view.end_ms === null && view.frozen === null;

/** A sample of the wire as it is held. */
export const sample = ({ seq, t, value, anomaly, z, quality }) => ({
  seq, at: Date.parse(t), value: typeof value === 'number' ? value : null, anomaly: Boolean(anomaly), z: z ?? null, quality: quality ?? null,
});

/** Adds samples that came; those that are there already count once. The oldest go. `gap` when some between are missing. */
export function merge(samples, events, most = MOST) {
  const fresh = events.map(sample).filter((s) => Number.isFinite(s.at));
  if (!fresh.length) return { samples, gap: false };
  const last = samples.at(-1)?.seq ?? -1;
  let all;
  if (fresh[0].seq > last && fresh.every((s, i) => i === 0 || s.seq > fresh[i - 1].seq)) all = [...samples, ...fresh];
  else {
    const by_seq = new Map(samples.map((s) => [s.seq, s]));
    for (const s of fresh) by_seq.set(s.seq, s);
    all = [...by_seq.values()].sort((a, b) => a.seq - b.seq);
  }
  return { samples: all.slice(-most), gap: samples.length > 0 && fresh[0].seq > last + 1 };
}

export const in_range = (samples, [from, to]) => samples.filter((s) => s.at >= from && s.at <= to);
export const anomalies = (samples) => samples.filter((s) => s.anomaly);

/** The newest `most`, the newest first, always so many rows: those that are not there yet are null. */
export const newest_rows = (samples, most) => Array.from({ length: Math.min(most, Math.max(1, samples.length)) }, (_, i) => samples.at(-1 - i) ?? null);

/** What is wrong with a typed setting: a key of words, or null. */
export function fault(name, text) {
  const value = Number(String(text).replace(',', '.'));
  const [least, most] = BOUNDS[name];
  if (String(text).trim() === '' || !Number.isFinite(value) || value < least || value > most) return 'range';
  return WHOLE.includes(name) && !Number.isInteger(value) ? 'whole' : null;
}
export const parse = (text) => Number(String(text).replace(',', '.'));

/** Signals that come from `source` ('' for all), by id. */
export const matching = (map, source) => [...map.entries()].filter(([, entry]) => !source || entry.payload.source === source)
  .map(([id, entry]) => ({ id, entry })).sort((a, b) => (a.id < b.id ? -1 : 1));
