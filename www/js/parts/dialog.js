// The second step of a destructive action: names the object and the loss, and has Cancel in focus. Nothing is sent
// before the person confirms.

import { html, render } from '../../vendor/lit-html/lit-html.js';
import { t } from '../core/i18n.js';

/** Resolves to true when confirmed, false when cancelled in any way. */
export function confirm({ title, loss, action }) {
  const place = document.createElement('dialog');
  place.className = 'dialog';
  place.setAttribute('aria-labelledby', 'dialog-title');
  place.setAttribute('aria-describedby', 'dialog-loss');
  render(html`
    <h2 id="dialog-title">${title}</h2>
    <p id="dialog-loss">${loss}</p>
    <div class="dialog-actions">
      <button type="button" class="button danger" data-confirm @click=${() => place.close('yes')}>${action}</button>
      <button type="button" class="button" autofocus @click=${() => place.close('')}>${t('action.cancel')}</button>
    </div>`, place);
  document.body.append(place);
  return new Promise((resolve) => {
    place.addEventListener('close', () => {
      place.remove();
      resolve(place.returnValue === 'yes');
    });
    place.showModal();
  });
}
