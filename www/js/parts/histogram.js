// Confidence in bars, and the threshold as a slider below them.

import { html, svg } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { count, percent } from '../core/format.js';
import { t } from '../core/i18n.js';
import { above, bars } from '../state/detection_list.js';

/** `moving(least)` while the slider moves, `chosen(least)` when it was let go. */
export function histogram(counts, least, { moving, chosen }) {
  const sums = above(counts, least);
  const words = t('detections.above', { n: sums.above, above: count(sums.above), all: count(sums.all), least: percent(least) });
  const width = 100 / counts.length;
  return html`<figure class="histogram">
    <svg viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label=${`${t('detections.histogram')}. ${words}`}>${
      bars(counts, least).map((bar, i) => svg`<rect ?data-below=${!bar.above} x=${(i * width + 0.4).toFixed(2)} y=${(40 - 39 * bar.height).toFixed(2)} width=${(width - 0.8).toFixed(2)} height=${(39 * bar.height).toFixed(2)}></rect>`)}</svg>
    <label class="field slider"><span>${t('detections.threshold')} <strong class="num">${percent(least)}</strong></span>
      <input type="range" data-threshold min="0" max="1" step=${1 / counts.length} .value=${live(String(least))} aria-valuetext=${percent(least)}
        @input=${(e) => moving(Number(e.target.value))} @change=${(e) => chosen(Number(e.target.value))}></label>
    <figcaption data-above=${sums.above} data-all=${sums.all}>${words}</figcaption>
  </figure>`;
}
