// The pages of the lab, side by side, at the top of each, and the emergency stop below them.

import { html } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { t } from '../core/i18n.js';
import { stop_all } from './stop_all.js';

const PAGES = ['queues', 'scans', 'instruments'];

export const lab_tabs = (current, app) => html`<nav class="tabs" aria-label=${t('nav.lab')}>${PAGES.map((name) => html`
  <a class="button" href=${`#/${name}`} aria-current=${live(name === current ? 'page' : 'false')}>${t(`nav.${name}`)}</a>`)}</nav>${stop_all(app)}`;
