// How an instrument is, as a dot and a word; a reading that may be on its way to a target.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { measure, unit as unit_text } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { share_of } from '../state/motion.js';
import { look } from './chip.js';
import { reading } from './lab_rows.js';

/** The dot has another form in each state; the word stands beside it. `fresh` says whether that is of now. */
export function dot(p, fresh) {
  const [tone] = look('instrument', p.status);
  return html`<p class="instrument-dot" data-tone=${tone} data-status=${p.status} ?data-stale=${fresh.stale}><span class="dot" aria-hidden="true"></span><strong>${word('instrument', p.status)}</strong>${
    p.status_text && p.status_text !== p.status ? html`<span class="muted clip">${p.status_text}</span>` : nothing}</p>`;
}

/** A reading; while it moves, with a sign that does. */
export function moving_reading(app, entry, r) {
  return reading(app, entry, r, r.moving ? html`<span class="moves" role="img" aria-label=${t('instrument.is_moving')}></span>` : nothing);
}

/** Where a value and its target lie within the limits. */
export function range(r) {
  const at = share_of(r.limits, r.value);
  if (at === null) return nothing;
  const to = share_of(r.limits, r.target);
  const x = (share) => (4 + share * 192).toFixed(1);
  const words = t('instrument.range', { value: `${measure(r.value)} ${r.unit ? unit_text(r.unit) : ''}`.trim(), low: measure(r.limits.low), high: measure(r.limits.high) });
  return html`<svg class="range" viewBox="0 0 200 16" preserveAspectRatio="none" role="img" aria-label=${words}><path class="rail" d="M4 8H196" vector-effect="non-scaling-stroke"></path
    ><path class="to" d=${to === null ? '' : `M${x(to)} 2V14`} vector-effect="non-scaling-stroke"></path><path class="at" d=${`M${x(at)} 3V13`} vector-effect="non-scaling-stroke"></path></svg>`;
}
