// What is set of a queue, as fields of a form: the same for a new one and for one there is.

import { html } from '../../vendor/lit-html/lit-html.js';
import { live } from '../../vendor/lit-html/directives/live.js';
import { t } from '../core/i18n.js';
import { ON_FAILURE } from '../state/lab_queue.js';

/** `draft` as state/lab_queue.js makes it; `set(changes)` keeps what is typed. */
export const queue_fields = (draft, set) => html`
  <label class="field"><span>${t('queues.name')}</span><input type="text" name="queue-name" maxlength="200" autocomplete="off" .value=${live(draft.name)} @input=${(e) => set({ name: e.target.value })}></label>
  <label class="field"><span>${t('queues.on_failure')}</span><select name="queue-on_failure" @change=${(e) => set({ on_failure: e.target.value })}>${
    ON_FAILURE.map((value) => html`<option value=${value} .selected=${draft.on_failure === value}>${t(`queues.on_failure.${value}`)}</option>`)}</select></label>
  <div class="choice-options">${['loop', 'autostart'].map((name) => html`<label class="option"><input type="checkbox" name=${`queue-${name}`} .checked=${live(draft[name])} @change=${(e) => set({ [name]: e.target.checked })}><span>${t(`queues.${name}`)}</span></label>`)}</div>`;
