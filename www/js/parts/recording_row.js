// A row of the list of recordings: a box to select it, its name and figures, the pin; and, when it is open, whatever is
// drawn into it. A row that was binned or purged stays where it is and says so.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { bytes, clock, duration } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { path_of } from '../core/recordings.js';
import { command_button, command_note } from './command_button.js';
import { icon } from './icon.js';

/** What can be asked of a recording, as orders of the command button. */
export const ORDERS = {
  pin: (r) => ({ ...base(r, 'pin'), body: { pinned: true } }),
  unpin: (r) => ({ ...base(r, 'unpin'), body: { pinned: false } }),
  restore: (r) => ({ ...base(r, 'restore'), body: { restore: true } }),
  bin: (r) => ({ ...base(r, 'bin'), method: 'DELETE' }),
  purge: (r) => ({ ...base(r, 'purge'), method: 'DELETE', path: `${path_of(r.recording_id)}?purge=true` }),
};
const base = (r, action) => ({ target: `recording/${r.recording_id}`, action, method: 'PATCH', path: path_of(r.recording_id) });

/** Orders whose end is worth a word in the row. */
const NOTED = ['pin', 'unpin', 'restore', 'bin', 'purge'];

/** `it` is the page: {filter, selected, select(id, {checked, span}), address_of(id), address_closed(), open_id}; `inside` draws what is open. */
export function recording_row(app, it, recording, inside) {
  const r = recording;
  const id = r.recording_id;
  const open = it.open_id === id;
  const away = r.gone || Boolean(r.binned_at) !== it.filter.bin;
  const name = r.label || r.name;
  const tap = (event) => it.select(id, { checked: event.target.checked, span: event.shiftKey });
  return html`<li class="rec" data-id=${id} data-open=${open ? 'true' : 'false'} ?data-away=${away} ?data-growing=${r.growing}>
    <div class="rec-line">
      <label class="rec-check"><input type="checkbox" aria-label=${t('recordings.select', { name })} .checked=${live(it.selected.has(id))} ?disabled=${Boolean(r.gone)} @click=${tap}></label>
      <a class="rec-main" href=${open ? it.address_closed() : it.address_of(id)} aria-expanded=${open ? 'true' : 'false'} @click=${() => it.tapped(id)}>
        <span class="rec-name"><span class="rec-title">${name}</span>${r.growing ? badge('bad', 'circle-dot', t('recordings.live_word')) : nothing}${
          r.gone ? badge('off', 'trash-2', t('recordings.gone')) : away ? badge('warn', 'archive', t(r.binned_at ? 'recordings.in_bin' : 'recordings.restored')) : nothing}${
          r.error ? badge('bad', 'circle-x', t('recordings.faulty')) : nothing}</span>
        <span class="rec-sub"><span class="num rec-at">${clock(r.started_at ?? r.modified, app.store.clock.now_ms())}</span><span class="num rec-length">${length(app, r)}</span><span class="num rec-size">${bytes(r.bytes)}</span>
          <span class="rec-kind">${(r.extension ?? '').toUpperCase()}</span><span class="rec-tags">${(r.triggers ?? []).map((x) => html`<span class="tag">${word('trigger', x)}</span>`)}</span></span>
        ${r.label ? html`<span class="rec-file">${r.name}</span>` : nothing}
        ${r.transcript && it.filter.text ? html`<span class="rec-file">${r.transcript}</span>` : nothing}
      </a>
      ${r.gone ? nothing : away || it.filter.bin
        ? command_button(app, r.binned_at ? { order: ORDERS.restore(r), label: t('action.restore'), shape: 'undo-2', name } : pin(r, name))
        : command_button(app, pin(r, name))}
    </div>
    <div class="rec-notes">${open ? nothing : NOTED.map((action) => note(app, ORDERS[action](r)))}</div>
    ${open ? inside() : nothing}
  </li>`;
}

/** Failures only: that it worked is seen in the row itself. */
function note(app, order) {
  const command = app.commands.of(order.target, order.action);
  return command?.phase === 'confirmed' ? nothing : command_note(app, { order });
}

const pin = (r, name) => ({ order: ORDERS[r.pinned ? 'unpin' : 'pin'](r), label: t(r.pinned ? 'recordings.pinned' : 'action.pin'), shape: 'pin', name, pressed: Boolean(r.pinned) });
const badge = (tone, shape, text) => html`<span class="chip" data-tone=${tone}>${icon(shape)}<span>${text}</span></span>`;

/** A growing one counts on by the clock of the box, as far as it is heard. */
function length(app, r) {
  if (!r.growing) return duration(r.duration_s);
  const began = Date.parse(r.started_at ?? '');
  const now = app.store.clock.now_ms();
  const runs = Number.isNaN(began) || now === null ? null : Math.max(0, (now - began) / 1_000);
  return duration(app.store.connected() && runs !== null && runs - (r.duration_s ?? 0) < 30 ? runs : r.duration_s);
}
