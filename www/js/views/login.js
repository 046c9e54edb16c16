// Logging in with a key. The key goes to the daemon once and is not kept here; the daemon answers with a cookie that
// scripts can't read.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { post } from '../core/api.js';
import { t, word } from '../core/i18n.js';
import { card } from '../parts/card.js';

export function open(app) {
  const form = { busy: false, note: null, tone: 'off' };
  return { title: () => t('login.title'), draw: () => draw(app, form) };
}

function draw(app, form) {
  const role = app.store.hello?.role;
  return html`<div class="overview narrow">${card('login', {
    title: t('login.title'),
    body: () => html`<form @submit=${(event) => submit(app, form, event)}>
      <label class="field"><span>${t('login.key')}</span>
        <input type="password" name="key" autocomplete="current-password" autocapitalize="off" spellcheck="false"></label>
      <p class="hint">${t('login.hint')}</p>
      <div class="actions"><button class="button primary" aria-disabled=${form.busy ? 'true' : 'false'}>${form.busy ? t('login.sending') : t('login.send')}</button>
        <button type="button" class="button" @click=${() => leave(app, form)}>${t('login.logout')}</button></div>
      ${form.note ? html`<p class="note" data-tone=${form.tone} role="status">${form.note}</p>` : nothing}
      ${role ? html`<p class="hint">${t('settings.role', { role: word('role', role) })}</p>` : nothing}
    </form>`,
  })}</div>`;
}

async function submit(app, form, event) {
  event.preventDefault();
  if (form.busy) return;
  const input = event.target.elements.key;
  const key = input.value.trim();
  if (!key) return say(app, form, 'warn', t('login.empty'));
  form.busy = true;
  say(app, form, 'off', null);
  try {
    await post('api/login', { key });
    input.value = '';
    say(app, form, 'good', t('login.done'));
    app.connection.restart();
  } catch (error) {
    const wrong = error.status === 401 || error.status === 403;
    say(app, form, 'bad', wrong ? t('login.wrong') : t('login.failed', { reason: error.message }));
  } finally {
    form.busy = false;
    app.ticker.now();
  }
}

async function leave(app, form) {
  try {
    await post('api/logout', {});
    say(app, form, 'off', null);
    app.connection.restart();
  } catch (error) {
    say(app, form, 'bad', t('login.failed', { reason: error.message }));
  }
}

function say(app, form, tone, note) {
  Object.assign(form, { tone, note });
  app.ticker.now();
}
