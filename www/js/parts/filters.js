// What narrows and orders the list of recordings. Fields keep what is typed, whatever else is drawn.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { count } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { SORTS, narrowing } from '../state/recordings.js';
import { icon } from './icon.js';

/** Days offered one by one. */
const DAYS = 60;

/** RFC 3339 <-> what `datetime-local` takes, in this device's zone. */
export function to_local(timestamp) {
  const ms = Date.parse(timestamp);
  if (Number.isNaN(ms)) return '';
  return new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
export function from_local(text) {
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? '' : new Date(ms).toISOString().replace('.000Z', 'Z');
}

const down = ({ sort }) => sort.startsWith('-');

/** `it` is {filter, list, filters_open, set(changes, {typed}), clear()}. */
export function filters(app, it) {
  const { filter, list } = it;
  const n = narrowing(filter);
  const more = narrowing({ ...filter, text: '' });
  const pick = (name) => (event) => it.set({ [name]: event.target.value });
  const typed = (name) => (event) => it.set({ [name]: event.target.value.trim() }, { typed: true });
  const descending = down(filter);
  const column = filter.sort.replace(/^-/, '');
  const options = (values, chosen, all) => html`<option value="" .selected=${!chosen}>${all}</option>${
    [...new Set([...values, ...(chosen ? [chosen] : [])])].map((v) => html`<option value=${v} .selected=${v === chosen}>${v}</option>`)}`;
  const days = list.days.some((d) => d.day === filter.day) || !filter.day ? list.days : [{ day: filter.day }, ...list.days];
  return html`<search class="filters" role="search" aria-label=${t('filters.label')}>
    <div class="filters-line">
      <label class="field search"><span>${t('filters.text')}</span><input type="search" data-filter="text" maxlength="200" autocomplete="off" spellcheck="false" .value=${filter.text} @input=${typed('text')}></label>
      <label class="field"><span>${t('filters.sort')}</span><span class="pair"><select data-filter="sort" @change=${(e) => it.set({ sort: `${down(it.filter) ? '-' : ''}${e.target.value}` })}>${
        SORTS.map((name) => html`<option value=${name} .selected=${name === column}>${t(`filters.sort.${name}`)}</option>`)}</select>
        <button type="button" class="button" data-filter="direction" aria-label=${t(descending ? 'filters.descending' : 'filters.ascending')} @click=${() => it.set({ sort: down(it.filter) ? it.filter.sort.slice(1) : `-${it.filter.sort}` })}>${icon(descending ? 'arrow-down' : 'arrow-up')}</button></span></label>
      <button type="button" class="button" data-filter="more" aria-expanded=${it.filters_open ? 'true' : 'false'} aria-controls="filters-more" @click=${() => { it.filters_open = !it.filters_open; app.ticker.now(); }}>${icon('list-filter')}<span>${
        more ? t('filters.more_set', { n: more }) : t('filters.more')}</span></button>
      ${n ? html`<button type="button" class="button" data-filter="clear" @click=${() => it.clear()}>${icon('x')}<span>${t('filters.clear')}</span></button>` : nothing}
    </div>
    <div class="filters-more" id="filters-more" ?hidden=${!it.filters_open}>
      <label class="field"><span>${t('filters.day')}</span><select data-filter="day" @change=${pick('day')}><option value="" .selected=${!filter.day}>${t('filters.any_day')}</option>${
        days.slice(0, DAYS).map((d) => html`<option value=${d.day} .selected=${d.day === filter.day}>${d.day}${d.count === undefined ? '' : ` (${count(d.count)})`}</option>`)}</select></label>
      <label class="field"><span>${t('filters.from')}</span><input type="datetime-local" data-filter="from" .value=${to_local(filter.from)} @change=${(e) => it.set({ from: from_local(e.target.value) })}></label>
      <label class="field"><span>${t('filters.to')}</span><input type="datetime-local" data-filter="to" .value=${to_local(filter.to)} @change=${(e) => it.set({ to: from_local(e.target.value) })}></label>
      <label class="field"><span>${t('filters.min_s')}</span><input type="number" min="0" step="any" inputmode="decimal" data-filter="min_s" .value=${filter.min_s} @input=${typed('min_s')}></label>
      <label class="field"><span>${t('filters.max_s')}</span><input type="number" min="0" step="any" inputmode="decimal" data-filter="max_s" .value=${filter.max_s} @input=${typed('max_s')}></label>
      <label class="field"><span>${t('filters.extension')}</span><select data-filter="extension" @change=${pick('extension')}>${options(list.extensions, filter.extension, t('filters.any'))}</select></label>
      <label class="field"><span>${t('filters.trigger')}</span><select data-filter="trigger" @change=${pick('trigger')}><option value="" .selected=${!filter.trigger}>${t('filters.any')}</option>${
        [...new Set([...list.triggers, ...(filter.trigger ? [filter.trigger] : [])])].map((v) => html`<option value=${v} .selected=${v === filter.trigger}>${word('trigger', v)}</option>`)}</select></label>
      <label class="option"><input type="checkbox" data-filter="pinned" .checked=${filter.pinned} @change=${(e) => it.set({ pinned: e.target.checked })}><span>${t('filters.pinned')}</span></label>
    </div>
  </search>`;
}

