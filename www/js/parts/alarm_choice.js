// How this device calls when an alert comes: a sound, a notification. Chosen here, kept in this browser; what can't be
// had says why.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { notify_blocked } from '../core/alarm.js';
import { t } from '../core/i18n.js';
import { card } from './card.js';

export function alarm_choice(app) {
  const sound = app.preferences.get('sound');
  const notify = app.preferences.get('notify');
  const blocked = notify_blocked();
  const silent = sound && app.alarm && !app.alarm.audible();
  return card('calling', {
    title: t('alarm.title'),
    summary: t('settings.hint'),
    body: () => html`
      <label class="option switch"><input type="checkbox" name="sound" .checked=${live(sound)} @change=${(e) => choose_sound(app, e.target.checked)}><span>${t('alarm.sound')}</span></label>
      <p class="hint">${silent ? t('alarm.waits') : t('alarm.sound_hint')}</p>
      ${sound ? html`<div class="actions"><button type="button" class="button small" data-trial @click=${() => app.alarm?.trial()}>${t('alarm.trial')}</button></div>` : nothing}
      <label class="option switch"><input type="checkbox" name="notify" .checked=${live(notify && !blocked)} ?disabled=${blocked !== null}
        @change=${(e) => choose_notify(app, e.target.checked)}><span>${t('alarm.notify')}</span></label>
      <p class="hint" data-blocked=${blocked ?? 'no'}>${blocked ? t(`alarm.blocked.${blocked}`) : t('alarm.notify_hint')}</p>`,
  });
}

async function choose_sound(app, on) {
  await app.choose('sound', on);
  if (on) await app.alarm?.trial();
}

async function choose_notify(app, on) {
  const allowed = on && (Notification.permission === 'granted' || (await Notification.requestPermission()) === 'granted');
  await app.choose('notify', allowed);
}
