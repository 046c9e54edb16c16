// A map: one cell a point of two axes, coloured by what was measured there. What a canvas lacks is around it: the ends of
// the axes, a legend, the cell under pointer, finger or arrow keys in words, and a summary. Where nothing was measured the
// hatched ground is seen. Drawn when its view is set and something differs, so at most as often as the page.
//
//   import '../parts/heatmap.js';         in a view with the pack 'chart'
//   html`<heat-map .view=${{...}}></heat-map>`
//
// view: {
//   label                    its name for screen readers
//   map                      map_of() of state/heatmap.js, a new one when it changed; null while there is none
//   x, y, value: {name, unit}
//   none                     what stands there when there is no map: a template or text
// }

import { html, nothing, render } from '../../vendor/lit-html/lit-html.js';
import { announce } from '../core/dom.js';
import { count, measure, unit as unit_text } from '../core/format.js';
import { current, t } from '../core/i18n.js';
import { cell_at, moved, picture, ramp } from '../state/heatmap.js';

const dark = globalThis.matchMedia?.('(prefers-color-scheme: dark)');
/** Distance of the lines of the hatched ground, px. */
const HATCH = 9;
let colours = null;

class HeatMap extends HTMLElement {
  set view(view) {
    this.wanted = view;
    this.draw();
  }

  connectedCallback() {
    this.sized = new ResizeObserver(() => this.draw());
    this.sized.observe(this);
    this.draw();
  }

  disconnectedCallback() {
    this.sized.disconnect();
    this.drawn = null;
  }

  draw() {
    const view = this.wanted;
    if (!view || !this.isConnected) return;
    const shape = JSON.stringify([view.label, view.x, view.y, view.value, current()]);
    const theme = `${document.documentElement.dataset.theme}/${dark?.matches}`;
    const now = { map: view.map, none: view.none, shape, theme, wide: this.clientWidth, at: this.at };
    const before = this.drawn;
    if (before && Object.keys(now).every((key) => before[key] === now[key])) return;
    this.drawn = now;
    if (before?.map !== view.map || before?.shape !== shape) this.words = view.map && words(view);
    this.frame(view);
    if (view.map) this.paint(view.map, before?.map !== view.map);
  }

  /** Everything around the canvas. */
  frame({ map, x, y, value, none }) {
    if (!map) {
      render(html`${none ?? nothing}`, this);
      return;
    }
    const end = (cells, i) => measure(cells.at(i).from);
    const known = map.least !== null;
    render(html`<figure class="map">
      <p class="map-name"><span aria-hidden="true">↑</span> ${axis_name(y)}</p>
      <div class="map-ends num"><span>${measure(map.ys.at(-1).to)}</span><span>${end(map.ys, 0)}</span></div>
      <div class="map-plot" tabindex="0" role="application" aria-label=${t('map.keys')} @keydown=${(e) => this.key(e)}
        @pointermove=${(e) => this.point(e)} @pointerdown=${(e) => this.point(e)}><canvas role="img" aria-label=${this.words}></canvas></div>
      <div class="map-along"><span class="num">${end(map.xs, 0)}</span><span class="map-name">${axis_name(x)} <span aria-hidden="true">→</span></span><span class="num">${measure(map.xs.at(-1).to)}</span></div>
      <p class="map-at num" data-map-at aria-live="off">${this.at ? this.said(this.at) : t('map.point')}</p>
      <div class="map-legend"><span class="map-name">${axis_name(value)}</span>
        ${known ? html`<span class="map-scale num"><span data-map-least>${with_unit(map.values[map.least], value.unit)}</span><canvas width="256" height="1" aria-hidden="true"></canvas><span data-map-most>${with_unit(map.values[map.most], value.unit)}</span></span>` : nothing}
        <span class="map-missing"><svg viewBox="0 0 24 16" aria-hidden="true"><path d="M-2 12 12 -2M2 18 18 2M12 18 26 4"></path></svg>${t('map.missing')}</span></div>
    </figure>`, this);
  }

  // ---- the canvas ----

  paint(map, anew) {
    const box = this.querySelector('.map-plot');
    const canvas = box.querySelector('canvas');
    const px = devicePixelRatio;
    const [width, height] = [Math.round(box.clientWidth * px), Math.round(box.clientHeight * px)];
    if (width < 10 || height < 10) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const style = getComputedStyle(this);
    const colour = (name) => style.getPropertyValue(name).trim();
    const ctx = canvas.getContext('2d');
    ctx.imageSmoothingEnabled = false;
    ctx.fillStyle = colour('--surface');
    ctx.fillRect(0, 0, width, height);
    ctx.strokeStyle = colour('--hatch');
    ctx.lineWidth = px;
    ctx.beginPath();
    for (let x = -height; x < width; x += HATCH * px) {
      ctx.moveTo(x, height);
      ctx.lineTo(x + height, 0);
    }
    ctx.stroke();
    if (anew || !this.image) {
      colours ??= ramp();
      this.image ??= document.createElement('canvas');
      Object.assign(this.image, { width: map.xs.length, height: map.ys.length });
      this.image.getContext('2d').putImageData(new ImageData(picture(map, colours), map.xs.length, map.ys.length), 0, 0);
    }
    ctx.drawImage(this.image, 0, 0, width, height);
    if (this.at) this.mark(ctx, map, [width, height], [colour('--surface'), colour('--ink')]);
    this.scale();
  }

  /** A ring around the cell that is told of, in two tones so that it is seen on every colour. */
  mark(ctx, map, [width, height], tones) {
    const { column, row } = cell_at(map, this.at.x, this.at.y);
    const [wide, high] = [width / map.xs.length, height / map.ys.length];
    const least = 8 * devicePixelRatio;
    const [w, h] = [Math.max(wide, least), Math.max(high, least)];
    const [left, top] = [(column + 0.5) * wide - w / 2, height - (row + 0.5) * high - h / 2];
    tones.forEach((tone, i) => {
      ctx.strokeStyle = tone;
      ctx.lineWidth = (i ? 2 : 5) * devicePixelRatio;
      ctx.strokeRect(left, top, w, h);
    });
  }

  scale() {
    const canvas = this.querySelector('.map-scale canvas');
    if (!canvas || canvas.drawn) return;
    const data = new ImageData(256, 1);
    colours.forEach((rgb, i) => data.data.set([...rgb, 255], 4 * i));
    canvas.getContext('2d').putImageData(data, 0, 0);
    canvas.drawn = true;
  }

  // ---- one cell ----

  /** The cell stays the same set-points while the map grows. */
  choose({ column, row }) {
    const { map } = this.wanted;
    const [x, y] = [map.xs[column].from, map.ys[row].from];
    if (this.at?.x === x && this.at.y === y) return false;
    this.at = { x, y };
    this.draw();
    return true;
  }

  point(event) {
    const { map } = this.wanted;
    const box = this.querySelector('.map-plot canvas').getBoundingClientRect();
    const share = (v, from, size, n) => Math.min(n - 1, Math.max(0, Math.floor(((v - from) / size) * n)));
    this.choose({ column: share(event.clientX, box.left, box.width, map.xs.length), row: map.ys.length - 1 - share(event.clientY, box.top, box.height, map.ys.length) });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { map } = this.wanted;
    const to = this.at ? moved(cell_at(map, this.at.x, this.at.y), event.key, map) : moved({ column: 0, row: 0 }, event.key, map) && { column: 0, row: 0 };
    if (!to) return;
    event.preventDefault();
    this.choose(to);
    announce(this.said(this.at));
  }

  said(at) {
    const { map, x, y, value } = this.wanted;
    const { column, row } = cell_at(map, at.x, at.y);
    const cell = row * map.xs.length + column;
    const n = map.counts[cell];
    const what = n ? with_unit(map.values[cell], value.unit) : t('map.missing');
    return [`${x.name} ${range(map.xs[column], x.unit)}`, `${y.name} ${range(map.ys[row], y.unit)}`, `${value.name} ${what}${n > 1 ? ` ${t('map.mean_of', { n, count: count(n) })}` : ''}`].join(' · ');
  }
}

customElements.define('heat-map', HeatMap);

const axis_name = ({ name, unit }) => (unit ? `${name} (${unit_text(unit)})` : name);
const with_unit = (value, unit) => `${measure(value)}${unit ? ` ${unit_text(unit)}` : ''}`;
const range = ({ from, to }, unit) => (from === to ? with_unit(from, unit) : t('map.range', { from: measure(from), to: with_unit(to, unit) }));

/** What a screen reader is told instead of the picture. */
function words({ label, map, x, y, value }) {
  const [columns, rows] = [map.xs.length, map.ys.length];
  const place = (cell) => `${x.name} ${range(map.xs[cell % columns], x.unit)}, ${y.name} ${range(map.ys[Math.floor(cell / columns)], y.unit)}`;
  const axes = t('map.words', { label, value: axis_name(value), x: axis_name(x), y: axis_name(y), columns: count(columns), rows: count(rows), n: map.filled, filled: count(map.filled) });
  return map.least === null ? axes
    : `${axes} ${t('map.words_ends', { least: with_unit(map.values[map.least], value.unit), at_least: place(map.least), most: with_unit(map.values[map.most], value.unit), at_most: place(map.most) })}`;
}
