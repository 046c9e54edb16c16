// The choice of a panel's pace, and the button that asks at once.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { t } from '../core/i18n.js';
import { icon } from './icon.js';

const text = (pace) => (typeof pace === 'number' ? t('pace.every', { s: pace }) : t(`pace.${pace}`));

/** `name` says whose clock it is, for screen readers. */
export function panel_clock(clock, name) {
  const choose = (event) => clock.choose(clock.offered.find((pace) => String(pace) === event.target.value));
  return html`<div class="pace">
    <label class="pace-choice"><span>${t('pace.label')}</span><select data-pace aria-label=${`${t('pace.label')}: ${name}`} @change=${choose}>${
      clock.offered.map((pace) => html`<option value=${pace} .selected=${pace === clock.pace}>${text(pace)}</option>`)}</select></label>
    ${clock.pace === 'push' ? nothing : html`<button type="button" class="button small" data-refresh aria-label=${`${t('pace.now')}: ${name}`} @click=${() => clock.ask()}>${icon('refresh-cw')}<span>${t('pace.now')}</span></button>`}
  </div>`;
}

/** What went wrong with the last question of one panel; what it shows stays. */
export const panel_fault = (reason) => (reason === null ? nothing
  : html`<p class="note" data-tone="warn" data-fault role="status">${icon('triangle-alert')}<span>${t('pace.failed', { reason })}</span></p>`);
