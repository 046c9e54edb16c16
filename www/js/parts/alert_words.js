// What the overview and the alerts page both say of an alert.

import { nothing } from '../../vendor/lit-html/lit-html.js';
import { number, unit } from '../core/format.js';
import { t } from '../core/i18n.js';
import { snoozed } from '../state/alerts.js';
import { chip } from './chip.js';

/** The command that acknowledges the occurrence that is shown. */
export const ack_order = (p) => ({
  target: `alert/${p.alert_id}`, action: 'ack', path: `api/alerts/${encodeURIComponent(p.alert_id)}/ack`,
  body: { occurrence: p.occurrence }, effect: ['acknowledged', 'closed'],
});

/** The value against its limit, or null. */
export function figure(p) {
  if (typeof p.value !== 'number') return null;
  const value = `${number(p.value)}${p.unit ? ` ${unit(p.unit)}` : ''}`;
  return typeof p.limit === 'number' ? t('alert.value', { value, limit: number(p.limit) }) : value;
}

/** Its state in a word with a shape, besides the severity; nothing while it simply calls. */
export function state_chip(p, now_ms) {
  if (p.state === 'acknowledged') return chip('alert_state', 'acknowledged', { quiet: true, text: t('alert.acknowledged') });
  if (p.state === 'closed') return chip('job', 'completed', { quiet: true, text: t('alert.closed') });
  if (snoozed(p, now_ms)) return chip('job', 'queued', { quiet: true, text: t('alert.snoozed') });
  if (p.state === 'cleared') return chip('job', 'completed', { quiet: true, text: t('alert.cleared_word') });
  return nothing;
}
