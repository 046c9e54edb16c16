// Every queue with how far it is, and a form for a new one.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { Asking } from '../core/asking.js';
import { t } from '../core/i18n.js';
import { ask_button, asked_note } from '../parts/asked.js';
import { card, empty } from '../parts/card.js';
import { queue_row, scan_row } from '../parts/lab_rows.js';
import { lab_tabs } from '../parts/lab_tabs.js';
import { queue_fields } from '../parts/queue_fields.js';
import { draft_of } from '../state/lab_queue.js';
import { top_queues } from '../state/queues.js';

export function open(app, _route, signal) {
  const page = { asking: new Asking(app), draft: draft_of({}) };
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
    ${queue_fields(draft, set)}
    <div class="actions">${ask_button(app, asking, { name: 'create', label: t('queues.create'), doing: t('queues.creating'), shape: 'plus', primary: true, tap: create })}</div>
    ${asked_note(asking, 'create')}
  </form>`;
}
