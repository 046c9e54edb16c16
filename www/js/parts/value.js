// A value with its unit and its age. One that may not be the present one says so in words.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { DASH, age, span, unit as unit_text } from '../core/format.js';
import { t } from '../core/i18n.js';

/** Words for an age as judged by state/freshness.js. */
export function age_text({ age_s, why }) {
  if (why === 'restored') return t('age.restored');
  if (why === 'lost') return t('age.lost', { span: span(age_s) });
  if (why) return age(age_s);
  return age_s < 2 ? t('age.now') : span(age_s);
}

/** Only the age, as small print. */
export const age_tag = (fresh) => html`<span class="age" ?data-stale=${fresh.stale}>${age_text(fresh)}</span>`;

/** `text` is the formatted value; a dash is neither fresh nor stale. Without `show_age` the age must stand nearby. */
export function value(text, { unit, fresh, show_age = true } = {}) {
  const known = text !== DASH && fresh;
  return html`<span class="val" ?data-stale=${known && fresh.stale}
    ><span class="num">${text}</span>${unit && text !== DASH ? html`<span class="unit">${unit_text(unit)}</span>` : nothing}</span
  >${known && show_age ? age_tag(fresh) : nothing}`;
}

/** A name and a value, for lists of facts. */
export const fact = (name, content) => html`<div class="fact"><dt>${name}</dt><dd>${content}</dd></div>`;
