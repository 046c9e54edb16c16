// The course of a level over the last minutes with the threshold beside it, both on the scale of the meter. A gap in
// what was heard is a gap in the line.

import { html, svg } from '../../vendor/lit-html/lit-html.js';
import { decibel } from '../core/format.js';
import { t } from '../core/i18n.js';
import { position } from './meter.js';

const WIDTH = 300;
const HEIGHT = 60;
const SPAN_MS = 120_000;
const GAP_MS = 5_000;

/** The path of [{at, value}] (null where unknown) over the last `SPAN_MS` up to `now`. */
export function course(points, now, value = (p) => p.value) {
  let out = '';
  let last = null;
  for (const point of points) {
    const v = value(point);
    const age = now - point.at;
    if (v === null || v === undefined || age > SPAN_MS) continue;
    const x = ((1 - age / SPAN_MS) * WIDTH).toFixed(1);
    const y = ((1 - position(v)) * HEIGHT).toFixed(1);
    out += `${last !== null && point.at - last <= GAP_MS ? 'L' : 'M'}${x} ${y}`;
    last = point.at;
  }
  return out;
}

export function level_course(levels, now) {
  const shown = levels.filter((p) => now - p.at <= SPAN_MS);
  const values = shown.map((p) => p.value);
  const label = values.length < 2 ? t('recorder.course_none') : t('recorder.course', { least: decibel(Math.min(...values)), most: decibel(Math.max(...values)) });
  return html`<svg class="course" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${label}>${
    svg`<path class="threshold" d=${course(shown, now, (p) => p.threshold)} vector-effect="non-scaling-stroke"></path><path d=${course(shown, now)} vector-effect="non-scaling-stroke"></path>`}</svg>`;
}
