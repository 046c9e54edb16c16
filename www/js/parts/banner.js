// What a person must know about the connection: since when it is lost and what still works, what was missed, a page of
// another version. It floats over free room at the foot of the page, so that nothing moves when it comes or goes.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { span } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { icon } from './icon.js';

/** A loss shorter than this shows nothing but the chip. */
const GRACE_S = 1;
/** A first connection may take this long before it is worth a word. */
const FIRST_S = 4;
const GAP_SHOWN_S = 120;

export function banners(app) {
  return [connection(app), gap(app), version(app)];
}

function connection({ store }) {
  const { status, denied, worked } = store.link;
  if (store.lost_at === null) return nothing;
  const lost_s = (store.clock.mono() - store.lost_at) / 1_000;
  if (denied) {
    return html`<p class="banner" data-banner="denied" data-tone="warn">${icon('key-round')}<span>${t('banner.denied')}</span>
      <a class="button small" href="#/login">${t('nav.login')}</a></p>`;
  }
  if (lost_s < (worked ? GRACE_S : FIRST_S)) return nothing;
  const key = status === 'offline' ? 'banner.offline' : worked ? 'banner.reconnecting' : 'banner.connecting';
  return html`<p class="banner" data-banner="connection" data-tone=${status === 'offline' ? 'bad' : 'warn'}>${
    icon(status === 'offline' ? 'wifi-off' : 'refresh-cw')}<span>${t(key, { span: span(lost_s) })}</span></p>`;
}

function gap(app) {
  const { store } = app;
  const last = store.gaps.at(-1);
  if (!last || last === app.dismissed_gap || store.clock.mono() - last.mono > GAP_SHOWN_S * 1_000) return nothing;
  const lost = last.lost === null || last.lost === undefined ? t('gap.lost.unknown') : t('gap.lost', { n: last.lost });
  const dismiss = () => {
    app.dismissed_gap = last;
    app.ticker.now();
  };
  return html`<p class="banner" data-banner="gap" data-tone="warn">${icon('triangle-alert')}<span>${
    t('banner.gap', { reason: word('gap', last.reason), lost })}</span>
    <button type="button" class="button small" @click=${dismiss}>${t('banner.gap.dismiss')}</button></p>`;
}

function version({ store }) {
  if (!store.outdated()) return nothing;
  return html`<p class="banner" data-banner="version" data-tone="busy">${icon('refresh-cw')}<span>${
    t('banner.version', { version: store.hello.version })}</span>
    <button type="button" class="button small" @click=${() => location.reload()}>${t('banner.reload')}</button></p>`;
}
