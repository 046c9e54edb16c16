// What stands where something asked for has nothing to show: still loading, not offered by this daemon, not allowed,
// failed (with another try), or really none.

import { html } from '../../vendor/lit-html/lit-html.js';
import { t } from '../core/i18n.js';

/** `retry` asks again; of what is more than this one answer it is its owner's. */
export function remote_empty(remote, none, retry = () => remote.load()) {
  switch (remote.status) {
    case 'loading': return html`<p class="empty" data-empty="loading">${t('empty.loading')}</p>`;
    case 'absent': return html`<p class="empty" data-empty="absent">${t('remote.absent')}</p>`;
    case 'denied': return html`<p class="empty" data-empty="error">${t('remote.denied')} <a class="button small" href="#/login">${t('nav.login')}</a></p>`;
    case 'error': return html`<div class="empty" data-empty="error"><p>${t('empty.error', { reason: remote.reason })}</p>
      <button type="button" class="button small" @click=${retry}>${t('page.retry')}</button></div>`;
    default: return html`<p class="empty" data-empty="none">${none}</p>`;
  }
}
