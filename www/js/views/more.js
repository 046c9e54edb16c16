// What does not fit into the menu of a phone: every page, as a list.

import { html } from '../../vendor/lit-html/lit-html.js';
import { t } from '../core/i18n.js';
import { card } from '../parts/card.js';
import { icon } from '../parts/icon.js';
import { VIEWS } from './table.js';

export function open() {
  return { title: () => t('nav.more'), draw };
}

function draw() {
  const pages = VIEWS.filter((row) => row.nav && row.nav !== 'narrow');
  return html`<div class="overview narrow">${card('more', {
    title: t('nav.label'),
    body: () => html`<ul class="doors">${pages.map((row) => html`<li><a class="door" href=${`#/${row.name}`}>${icon(row.icon)}<span>${t(`nav.${row.name}`)}</span></a></li>`)}</ul>`,
  })}</div>`;
}
