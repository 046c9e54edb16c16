// A card: heading, a summary beside it, content; and what stands there when there is no content.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { t } from '../core/i18n.js';

/** `id` names the card for links and tests. */
export function card(id, { title, summary, body, wide = false }) {
  return html`<section class="card ${wide ? 'wide' : ''}" id="card-${id}" aria-labelledby="card-${id}-title">
    <header class="card-head"><h2 id="card-${id}-title">${title}</h2>${summary ? html`<div class="card-summary">${summary}</div>` : nothing}</header>
    <div class="card-body">${guarded(body)}</div>
  </section>`;
}

/** Calls `part`; a fault in it stays in it. */
function guarded(part) {
  try {
    return part();
  } catch (error) {
    console.error(error);
    return html`<p class="empty" data-empty="fault">${t('page.fault')}</p>`;
  }
}

/** Nothing to show: still loading, an error, or really none, with what to do next. */
export function empty(app, none) {
  const { store } = app;
  if (store.complete) return html`<p class="empty" data-empty="none">${none}</p>`;
  if (store.link.status === 'offline') {
    const reason = store.link.denied ? t('banner.denied') : t('conn.offline');
    return html`<p class="empty" data-empty="error">${t('empty.error', { reason })}</p>`;
  }
  return html`<p class="empty" data-empty="loading">${t('empty.loading')}</p>`;
}
