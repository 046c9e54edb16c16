// The second step of a destructive action: names the object and the loss, and has Cancel in focus. Nothing is sent
// before the person confirms. And a question for one line of text, which stays until it is answered for good.

import { html, nothing, render } from '../../vendor/lit-html/lit-html.js';
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

/**
 * Asks for one line of text. `fault(text)` gives a sentence when it can't be taken; `submit(text)` is awaited, and what it
 * throws is shown while what was typed stays. Resolves to the text, or null when cancelled.
 */
export function ask({ title, label, value = '', suffix = '', hint = '', most, action, doing, fault = () => null, submit, reason }) {
  const place = document.createElement('dialog');
  place.className = 'dialog';
  place.setAttribute('aria-labelledby', 'dialog-title');
  const state = { fault: null, busy: false, text: value };
  const show = () => render(html`
    <h2 id="dialog-title">${title}</h2>
    <form @submit=${send}>
      <label class="field"><span>${label}</span><span class="ask-line"><input id="dialog-text" type="text" autofocus autocomplete="off" spellcheck="false" maxlength=${most}
        .value=${value} aria-invalid=${state.fault ? 'true' : 'false'} aria-describedby="dialog-fault"
        @input=${(event) => { state.text = event.target.value; state.fault = null; show(); }}>${suffix ? html`<span class="ask-suffix">${suffix}</span>` : nothing}</span></label>
      ${hint ? html`<p class="hint">${hint}</p>` : nothing}
      <p id="dialog-fault" class="ask-fault" data-tone="bad" role="alert">${state.fault ?? nothing}</p>
      <div class="dialog-actions">
        <button type="submit" class="button primary" data-confirm aria-disabled=${state.busy ? 'true' : 'false'}>${state.busy ? html`<span class="spinner" aria-hidden="true"></span>${doing}` : action}</button>
        <button type="button" class="button" @click=${() => place.close('')}>${t('action.cancel')}</button>
      </div>
    </form>`, place);
  const send = async (event) => {
    event.preventDefault();
    if (state.busy) return;
    const text = state.text.trim();
    state.fault = fault(text);
    if (!state.fault) {
      state.busy = true;
      show();
      try {
        await submit(text);
        place.close('yes');
      } catch (error) {
        state.fault = reason(error);
      }
      state.busy = false;
    }
    if (place.open) show();
  };
  show();
  document.body.append(place);
  return new Promise((resolve) => {
    place.addEventListener('close', () => {
      place.remove();
      resolve(place.returnValue === 'yes' ? state.text.trim() : null);
    });
    place.showModal();
    place.querySelector('input').select();
  });
}
