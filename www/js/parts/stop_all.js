// The emergency stop of the lab: one tap, no question asked, at the top of each of its pages however far one has scrolled.
// A tap is always sent, also while an earlier one is on its way or the stream is lost. What was told to whom stays on the
// page until it is put away, each with how it ended.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { ApiError, post, read } from '../core/api.js';
import { t, word } from '../core/i18n.js';
import { icon } from './icon.js';

const LOOK_MS = 300;
const LOOK_FOR_MS = 20_000;
const TONES = { completed: 'good', accepted: 'busy' };
const SHAPES = { good: 'check', busy: 'clock', warn: 'triangle-alert', bad: 'circle-x' };

/** Past this nobody waits to see whether it went out: the daemon answers within half a second. */
const ANSWER_MS = 3_000;

/** How the last one went; one for all pages. */
let last = null;

export function stop_all(app) {
  const may = app.store.may_operate();
  return html`<div class="stop-all">
    <button type="button" class="button stop-button" data-stop-all aria-disabled=${may ? 'false' : 'true'} title=${may ? t('stop_all.hint') : t('action.no_role')} @click=${() => stop(app, may)}>
      ${icon('octagon-alert')}<span>${last?.state === 'sending' ? t('stop_all.doing') : t('stop_all')}</span></button>
    ${last && last.state !== 'sending' ? outcome(app) : nothing}
  </div>`;
}

async function stop(app, may) {
  const mine = may ? { state: 'sending', items: [] } : { state: 'failed', items: [], reason: t('action.no_role') };
  last = mine;
  app.ticker.now();
  if (!may) return;
  try {
    const { body } = await post('api/stop', {}, { limit_ms: ANSWER_MS });
    Object.assign(mine, { state: 'told', items: body?.items ?? [] });
    app.ticker.now();
    await follow(app, mine);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    Object.assign(mine, { state: 'failed', reason: error.status ? error.message : null });
    app.ticker.now();
  }
}

/** Asks how each command ended. */
async function follow(app, mine) {
  const until = performance.now() + LOOK_FOR_MS;
  const open = () => mine.items.filter((item) => item.state === 'accepted' && item.command_id);
  while (open().length && last === mine && performance.now() < until) {
    await new Promise((ok) => setTimeout(ok, LOOK_MS));
    await Promise.all(open().map(async (item) => {
      try {
        const { body } = await read(`api/commands/${encodeURIComponent(item.command_id)}`);
        Object.assign(item, { state: body.state, reason: body.state === 'completed' ? null : body.reason });
      } catch (error) {
        // Asked again until the time is over.
        if (!(error instanceof ApiError)) throw error;
      }
    }));
    app.ticker.now();
  }
}

function outcome(app) {
  const { state, items, reason } = last;
  const away = html`<button type="button" class="button small" @click=${() => { last = null; app.ticker.now(); }}>${t('action.dismiss')}</button>`;
  if (state === 'failed') {
    return html`<p class="note" data-tone="bad" role="alert" data-stopped="failed">${icon('circle-x')}<span>${reason ? t('stop_all.refused', { reason }) : t('stop_all.unsent')}</span>${away}</p>`;
  }
  const open = items.some((item) => item.state === 'accepted');
  return html`<div class="note block" data-tone=${open ? 'busy' : items.some((i) => i.action && i.state !== 'completed') ? 'bad' : items.some((i) => !i.action) ? 'warn' : 'good'} role="status" data-stopped=${open ? 'told' : 'ended'}>
    <div><p><strong>${items.length ? t('stop_all.told') : t('stop_all.nothing')}</strong></p>
    <ul class="rows tight">${items.map((item) => {
      const tone = item.action ? TONES[item.state] ?? 'bad' : 'warn';
      return html`<li class="row-sub" data-target=${item.target} data-state=${item.state}>${icon(SHAPES[tone])}<span>${item.target}${item.action ? html`: ${t(`stop_all.${item.action}`)}` : nothing}</span>
        <strong data-tone=${tone}>${item.action === null ? t('stop_all.not_told') : item.state === 'accepted' ? t('stop_all.waits') : word('command', item.state)}</strong>${item.reason && item.state !== 'completed' ? html`<span>${item.reason}</span>` : nothing}</li>`;
    })}</ul><div class="actions">${away}</div></div></div>`;
}
