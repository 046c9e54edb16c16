// Every queue with how far it is, and a form for a new one.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { Asking } from '../core/asking.js';
import { t } from '../core/i18n.js';
import { ask_button, asked_note } from '../parts/asked.js';
import { card, empty } from '../parts/card.js';
import { queue_row, scan_row } from '../parts/lab_rows.js';
import { lab_tabs } from '../parts/lab_tabs.js';
import { top_queues } from '../state/queues.js';

const ON_FAILURE = ['pause', 'continue'];

export function open(app, _route, signal) {
  const page = { asking: new Asking(app), draft: { name: '', on_failure: 'pause', loop: false } };
  app.connection.want(['queue/*'], { signal });
  return { title: () => t('nav.queues'), draw: () => draw(app, page) };
}

function draw(app, page) {
  const { queues, scans } = app.store.slices;
  const rows = top_queues(queues, Infinity);
  return html`<div class="overview lab">
    ${lab_tabs('queues', app)}
    <div class="columns lab-wide">
      <div class="column">${card('queues', {
        title: t('queues.title'),
        body: () => (rows.length ? html`<ul class="rows">${repeat(rows, ({ id }) => id, ({ id, entry }) => queue_row(app, id, entry, running_in(app, scans, entry)))}</ul>` : empty(app, t('queues.none_page'))),
      })}</div>
      <div class="column">${card('queue-new', { title: t('queues.new'), body: () => form(app, page) })}</div>
    </div>
  </div>`;
}

/** The scan that runs, below its queue. */
function running_in(app, scans, { payload }) {
  const scan = payload.current_scan && scans.get(payload.current_scan);
  return scan ? html`<ul class="rows within">${scan_row(app, payload.current_scan, scan)}</ul>` : nothing;
}

function form(app, page) {
  const { asking, draft } = page;
  const set = (changes) => { page.draft = { ...page.draft, ...changes }; app.ticker.now(); };
  const create = async (event) => {
    event?.preventDefault();
    const { name, ...rest } = page.draft;
    const made = await asking.send('create', 'POST', 'api/queues', { ...(name.trim() ? { name: name.trim() } : {}), ...rest });
    if (made?.queue_id) location.hash = `#/queue/${encodeURIComponent(made.queue_id)}`;
  };
  return html`<form class="lab-form" @submit=${create}>
    <label class="field"><span>${t('queues.name')}</span><input type="text" name="name" maxlength="200" autocomplete="off" .value=${live(draft.name)} @input=${(e) => set({ name: e.target.value })}></label>
    <label class="field"><span>${t('queues.on_failure')}</span><select name="on_failure" @change=${(e) => set({ on_failure: e.target.value })}>${
      ON_FAILURE.map((value) => html`<option value=${value} .selected=${draft.on_failure === value}>${t(`queues.on_failure.${value}`)}</option>`)}</select></label>
    <label class="option"><input type="checkbox" name="loop" .checked=${live(draft.loop)} @change=${(e) => set({ loop: e.target.checked })}><span>${t('queues.loop')}</span></label>
    <div class="actions">${ask_button(app, asking, { name: 'create', label: t('queues.create'), doing: t('queues.creating'), shape: 'plus', primary: true, tap: create })}</div>
    ${asked_note(asking, 'create')}
  </form>`;
}
