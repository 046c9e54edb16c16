// Settings of this browser: theme, language, how updates come.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { span } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { choices } from '../core/preferences.js';
import { card } from '../parts/card.js';

export function open(app) {
  return { title: () => t('nav.settings'), draw: () => draw(app) };
}

function draw(app) {
  const role = app.store.hello?.role;
  return html`<div class="overview narrow">
    ${card('settings', {
      title: t('settings.title'),
      summary: t('settings.hint'),
      body: () => html`
        ${choice(app, 'theme', t('settings.theme.hint'))}
        ${choice(app, 'language')}
        ${choice(app, 'mode', t('settings.mode.hint'))}
        ${choice(app, 'poll_ms')}`,
    })}
    ${card('calling-door', {
      title: t('settings.calling'),
      body: () => html`<p class="hint">${t('settings.calling.hint')}</p><div class="actions"><a class="button" href="#/alerts">${t('nav.alerts')}</a></div>`,
    })}
    ${card('access', {
      title: t('settings.access'),
      body: () => html`${role ? html`<p>${t('settings.role', { role: word('role', role) })}</p>` : nothing}
        <div class="actions"><a class="button" href="#/login">${t('login.title')}</a></div>`,
    })}
  </div>`;
}

function choice(app, name, hint) {
  const chosen = app.preferences.get(name);
  const label = (value) => (name === 'poll_ms' ? span(value / 1_000) : t(`settings.${name}.${value}`));
  return html`<fieldset class="choice"><legend>${t(`settings.${name}`)}</legend>
    <div class="choice-options">${choices(name).map((value) => html`
      <label class="option"><input type="radio" name=${name} .checked=${chosen === value} value=${value}
        @change=${() => app.choose(name, value)}><span>${label(value)}</span></label>`)}</div>
    ${hint ? html`<p class="hint">${hint}</p>` : nothing}</fieldset>`;
}
