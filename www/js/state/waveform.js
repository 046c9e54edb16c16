// What of a waveform is shown: the part in view, its least and most in every column, the marks of the ruler. Pure.

const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400];
const LABEL_PX = 76;

/** The part of the recording that is shown at this zoom: `before` moves on only when the position leaves it. */
export function window_of(duration_s, zoom, position_s, before = null) {
  if (!(duration_s > 0)) return { from_s: 0, to_s: 1 };
  const width = duration_s / Math.max(1, zoom);
  const keeps = before && Math.abs(before.to_s - before.from_s - width) < 1e-6 && position_s >= before.from_s && position_s <= before.to_s;
  const from = keeps ? before.from_s : position_s - width / 5;
  const from_s = Math.min(Math.max(0, from), duration_s - width);
  return { from_s, to_s: from_s + width };
}

/**
 * Least and most of the waveform in each of `columns` columns between two times, -1..1; null where there is nothing.
 * `wave` is {min, max, scale, duration_s}, or of a part of the recording with from_s and until_s.
 */
export function columns_of(wave, { from_s, to_s }, columns) {
  const points = Math.min(wave.min.length, wave.max.length);
  const out = new Array(columns).fill(null);
  const [begins, ends] = [wave.from_s ?? 0, wave.until_s ?? wave.duration_s];
  if (!points || !(ends > begins) || !(to_s > from_s)) return out;
  const per_s = points / (ends - begins);
  const scale = wave.scale || 32_767;
  for (let column = 0; column < columns; column += 1) {
    const a = (from_s - begins + ((to_s - from_s) * column) / columns) * per_s;
    const b = (from_s - begins + ((to_s - from_s) * (column + 1)) / columns) * per_s;
    const first = Math.floor(a + 1e-9);
    if (first >= points || b <= 0) continue;
    const last = Math.min(points - 1, Math.max(first, Math.ceil(b - 1e-9) - 1));
    let [least, most] = [Infinity, -Infinity];
    for (let i = Math.max(0, first); i <= last; i += 1) {
      if (wave.min[i] < least) least = wave.min[i];
      if (wave.max[i] > most) most = wave.max[i];
    }
    if (least <= most) out[column] = [least / scale, most / scale];
  }
  return out;
}

/** The finer of the two that covers what is shown: `detail` is of a part. */
export function wave_for(whole, detail, { from_s, to_s }) {
  const covers = detail && detail.from_s <= from_s + 1e-3 && detail.until_s >= Math.min(to_s, whole?.duration_s ?? to_s) - 1e-3;
  return covers ? detail : whole;
}

/** Seconds between two marks of the ruler. */
export const ruler_step = (width_s, width_px) => STEPS_S.find((step) => (step / width_s) * width_px >= LABEL_PX) ?? STEPS_S.at(-1);

/** The loudest of a waveform, 0..1. */
export function peak_of(wave) {
  let most = 0;
  for (const value of wave.max) if (value > most) most = value;
  for (const value of wave.min) if (-value > most) most = -value;
  return most / (wave.scale || 32_767);
}
