// A line of the last values, a gap where there was none. Drawn as one SVG path; the words beside it say the range.

import { html, svg } from '../../vendor/lit-html/lit-html.js';
import { number } from '../core/format.js';
import { t } from '../core/i18n.js';

const WIDTH = 120;
const HEIGHT = 32;
const PAD = 3;

/** The path of values (numbers or null) in a box, oldest left; '' when there is nothing to draw. */
export function path(values, width = WIDTH, height = HEIGHT, pad = PAD) {
  const known = values.filter((v) => v !== null);
  if (known.length < 2) return '';
  const least = Math.min(...known);
  const range = Math.max(...known) - least;
  const x = (i) => ((i / (values.length - 1)) * (width - 2 * pad) + pad).toFixed(1);
  const y = (v) => (range === 0 ? height / 2 : height - pad - ((v - least) / range) * (height - 2 * pad)).toFixed(1);
  let pen = 'M';
  let out = '';
  values.forEach((v, i) => {
    if (v === null) {
      pen = 'M';
      return;
    }
    out += `${pen}${x(i)} ${y(v)}`;
    pen = 'L';
  });
  return out;
}

export function sparkline(history, name) {
  const values = history.map((p) => p.value);
  const known = values.filter((v) => v !== null);
  const label = known.length < 2 ? name : t('streams.trend', {
    name, n: known.length, least: number(Math.min(...known)), most: number(Math.max(...known)),
  });
  return html`<svg class="spark" viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${label}>${
    svg`<path d=${path(values)} vector-effect="non-scaling-stroke"></path>`}</svg>`;
}
