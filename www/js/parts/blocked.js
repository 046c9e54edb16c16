// That an alert keeps commands from something, with the way to that alert.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { t } from '../core/i18n.js';
import { blocking } from '../state/alerts.js';
import { icon } from './icon.js';

/** A line for each alert that blocks one of `targets`, such as `instrument/stage`. */
export function blocked_note(app, ...targets) {
  const found = [...new Set(targets.flatMap((target) => blocking(app.store.slices.alerts, target)))];
  return found.length ? found.map((p) => html`<p class="note" data-tone="warn" data-blocked=${p.alert_id}>${icon('triangle-alert')}<span>${t('blocked.by')}
    <a class="link" href=${`#/alerts/${encodeURIComponent(p.alert_id)}`}>${p.alert_id}</a>: ${p.message}${p.state === 'cleared' ? html` ${t('blocked.reset')}` : nothing}</span></p>`) : nothing;
}
