// A scan over two axes on its page: the choice between lines and the map, and the card of the map.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { count } from '../core/format.js';
import { t } from '../core/i18n.js';
import { MapData } from '../core/map_data.js';
import { POINTS, map_axes, map_values } from '../state/heatmap.js';
import { card } from './card.js';
import './heatmap.js';

export class ScanMap {
  /** Ends with `signal`. */
  constructor(app, path, signal) {
    Object.assign(this, { app, wanted: false, column: null, data: new MapData(app, path, signal) });
  }

  /** Whether the map is to be shown: these columns span one, and the person chose it. */
  on(columns) {
    return this.wanted && map_axes(columns) !== null;
  }

  /** Line or map; nothing where there is no map. */
  choice(columns) {
    if (!map_axes(columns)) return nothing;
    const choose = (map) => { this.wanted = map; this.app.ticker.now(); };
    return html`<div class="ways" role="group" aria-label=${t('map.as')}>${[['line', false], ['map', true]].map(([name, map]) => html`<button type="button" class="button" data-view=${name}
      aria-pressed=${this.wanted === map ? 'true' : 'false'} @click=${() => choose(map)}>${t(`map.${name}`)}</button>`)}</div>`;
  }

  /** `rows` are those the page keeps; `stored` whether the others can be asked for; `below` what stands under the map. */
  card({ columns, rows, stored, last, measurement, label, none, below }) {
    const axes = map_axes(columns);
    const names = map_values(columns, axes);
    const value = names.includes(this.column) ? this.column : names[0] ?? null;
    const column = (name) => ({ name, unit: known_unit(columns.find((c) => c.name === name)?.unit) });
    if (value !== null) this.data.follow({ measurement, ...axes, value, rows, stored, last });
    const map = value === null ? null : this.data.now();
    const { fault } = this.data;
    const lost = this.data.lost();
    return card('chart', {
      title: t('map.title'),
      summary: map ? html`<span class="num" data-cells=${map.filled}>${t('map.filled', { n: map.points, count: count(map.points) })}</span>` : nothing,
      body: () => html`${this.choice(columns)}
        ${names.length ? html`<div class="axis-choice"><label class="field"><span>${t('map.value')}</span><select data-choice="map-value" @change=${(e) => { this.column = e.target.value; this.app.ticker.now(); }}>${
          names.map((name) => html`<option value=${name} .selected=${name === value}>${name}</option>`)}</select></label></div>` : nothing}
        <heat-map .view=${{ label, map, x: column(axes.x), y: column(axes.y), value: column(value ?? ''), none: none(value !== null && (this.data.asking !== null || fault !== null)) }}></heat-map>
        ${map?.binned ? html`<p class="hint" data-map="binned">${t('map.binned', { columns: count(map.raw[0]), rows: count(map.raw[1]), wide: count(map.xs.length), high: count(map.ys.length) })}</p>` : nothing}
        ${lost > 0 ? html`<p class="hint" data-map="newest">${t('map.newest', { most: count(POINTS) })}</p>` : nothing}
        ${fault ? html`<p class="note" data-tone="warn" role="status">${t('empty.error', { reason: fault })}</p>` : nothing}
        ${below}`,
    });
  }
}

/** UCUM's unit of what has none. */
const known_unit = (unit) => (unit === '1' ? undefined : unit ?? undefined);
