// A bar of progress. Unknown progress is an empty bar with a dash, not 0 %.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { percent } from '../core/format.js';

/** `share` is 0..1 or null. */
export function progress(share, { label, tone = 'busy', figure = true }) {
  const known = typeof share === 'number' && Number.isFinite(share);
  const clamped = known ? Math.min(1, Math.max(0, share)) : 0;
  return html`<span class="progress" data-tone=${tone}
    ><progress max="1" .value=${clamped} aria-label=${label} aria-valuetext=${percent(known ? clamped : null)}></progress
    >${figure ? html`<span class="num">${percent(known ? clamped : null)}</span>` : nothing}</span>`;
}
