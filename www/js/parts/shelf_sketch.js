// Where on the shelf something was seen: the boxes of one look on a sketch. No image is asked for.

import { html, nothing, svg } from '../../vendor/lit-html/lit-html.js';
import { percent } from '../core/format.js';
import { t } from '../core/i18n.js';
import { place } from '../state/detection_list.js';

const BOARDS = [30, 60, 88];

/** `one` is marked; `others` are drawn with it. */
export function shelf_sketch({ one, others }) {
  const mine = place(one.box);
  const rest = others.map((d) => place(d.box)).filter(Boolean);
  const label = mine ? t('detections.sketch', { label: one.label, x: percent(one.box.x), y: percent(one.box.y), n: rest.length }) : t('detections.no_box');
  return html`<figure class="shelf">
    <svg viewBox="0 0 160 90" role="img" aria-label=${label}>
      ${BOARDS.map((y) => svg`<line class="shelf-board" x1="0" x2="160" y1=${y} y2=${y}></line>`)}
      ${rest.map((b) => svg`<rect class="shelf-other" x=${b.x} y=${b.y} width=${b.width} height=${b.height}></rect>`)}
      ${mine ? svg`<rect class="shelf-one" x=${mine.x} y=${mine.y} width=${mine.width} height=${mine.height}></rect>` : nothing}
    </svg>
    <figcaption>${mine ? label : t('detections.no_box')}</figcaption>
  </figure>`;
}
