// A line chart of live or stored columns, drawn by uPlot on a canvas, with what a canvas lacks: words and a table.
// It draws only when its view is set and something differs, so at most as often as the page's tick (10 Hz). Columns are
// typed arrays (state/chart.js); NaN is a gap and is drawn as one; x need not rise (sweeps there and back).
//
//   import '../parts/chart.js';           in a view of a pack that has words and styles of 'chart' (views/table.js)
//   html`<live-chart .view=${{...}}></live-chart>`
//
// view: {
//   label                          its name for screen readers
//   points                         Points of state/chart.js: `new Points(columns, most)`, push(x, [y...]), gap(); or Points.of(columns);
//                                  or anything with {version, length, columns()}, and `source` when it is made anew each time
//   x: {name, unit, time}          time: x is seconds since 1970, ticks are times of day
//   series: [{name, unit, style}]  one a y column of points; style 'line' (default) or 'points'; the same unit shares an axis
//   table                          newest rows in the table below, default 20, 0 for none
//   step                           optional: values further apart along x than this are not joined (gap_step() of state/chart.js)
//   back                           optional: a jump back along x by more than this begins the next sweep
//   x_range, y_range               optional [least, most]; y_range holds for the first unit and is widened by data beyond it
//   bands: [{from, to, tone}]      optional, on the first unit; from or to null: to the edge. tone: good busy warn bad
//   lines: [{at, tone, label}]     optional, levels on the first unit
//   markers: [{x, y, tone}]        optional, on the first unit; rings around values, such as anomalies
//   none                           what stands there when there is no point: a template or text
// }
// Words, table and canvas follow `points.version`; give bands, lines and markers as new arrays when they change.

import { html, nothing, render } from '../../vendor/lit-html/lit-html.js';
import uPlot from '../../vendor/uplot/uplot.js';
import { style } from '../core/dom.js';
import { count, measure, moment, number, unit as unit_text } from '../core/format.js';
import { current, t } from '../core/i18n.js';
import { extent, figures, gaps, nearest, places, roomy, runs, whole } from '../state/chart.js';

style('vendor/uplot/uplot.css');

const TABLE = 20;
const FONT = '14px system-ui, sans-serif';
/** Up to this many points a pixel, every point is marked on its line. */
const DOT_EVERY_PX = 8;
/** Room left and right of the points, as a share. */
const EDGE = 0.012;
/** Colour, and a dash for who sees no colour. */
const STROKES = [['--busy', []], ['--warn', [8, 4]], ['--good', [2, 3]], ['--bad', [10, 3, 2, 3]], ['--accent', [5, 5]], ['--muted', [1, 4]]];
/** The words for a screen reader are not made anew with every point. */
const WORDS_MS = 2_000;

const dark = globalThis.matchMedia?.('(prefers-color-scheme: dark)');

class LiveChart extends HTMLElement {
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
    this.drop();
    this.drawn = null;
  }

  drop() {
    this.plot?.destroy();
    this.plot = null;
  }

  draw() {
    const view = this.wanted;
    if (!view || !this.isConnected) return;
    const theme = `${document.documentElement.dataset.theme}/${dark?.matches}`;
    const shape = JSON.stringify([view.x, view.series, current()]);
    const wide = this.clientWidth;
    const now = { ...view, version: view.points.version, theme, shape, wide, locked: this.locked };
    const before = this.drawn;
    const due = this.words_due && performance.now() - this.words_at > WORDS_MS;
    if (before && !due && ['points', 'version', 'theme', 'shape', 'wide', 'locked', 'bands', 'lines', 'markers', 'label', 'none'].every((k) => before[k] === now[k])
      && String(before.x_range) === String(now.x_range) && String(before.y_range) === String(now.y_range)) return;
    this.drawn = now;
    if (before?.theme !== theme) this.colours = colours(this);
    if (before?.shape !== shape) this.drop();
    this.columns = view.points.columns();
    this.frame(view, source_of(before?.points) !== source_of(view.points) || before?.shape !== shape);
    if (view.points.length) this.paint(view);
    else this.drop();
  }

  /** Everything around the canvas. */
  frame(view, anew) {
    const [x, ...ys] = this.columns;
    const at = performance.now();
    this.words_due = !anew && at - (this.words_at ?? -Infinity) <= WORDS_MS;
    if (!this.words_due) {
      this.words_at = at;
      this.words = words(view, x, ys);
    }
    const empty = !view.points.length;
    render(html`
      <figure class="chart" ?hidden=${empty}>
        <div class="chart-head">
          <ul class="chart-legend">${view.series.map((s, i) => html`<li>${swatch(i, s)}<span class="chart-name">${s.name}</span>
            <span class="num chart-last">${measure(figures_last(ys[i]))}</span>${s.unit ? html`<span class="unit">${unit_text(s.unit)}</span>` : nothing}</li>`)}</ul>
          <button type="button" class="button small" data-chart=${this.locked ? 'unlock' : 'lock'} @click=${() => this.lock()}>${t(this.locked ? 'chart.unlock' : 'chart.lock')}</button>
        </div>
        <div class="chart-plot" role="img" aria-label=${this.words}></div>
        <p class="chart-at num" aria-live="off">${this.at ?? axis_name(view.x)}</p>
      </figure>
      ${empty ? view.none ?? nothing : nothing}
      ${empty || view.table === 0 ? nothing : html`<details class="chart-table" ?open=${this.open} @toggle=${(e) => { this.open = e.target.open; this.drawn = null; this.draw(); }}>
        <summary class="button small">${t('chart.table')}</summary>${this.open ? table(view, x, ys) : nothing}</details>`}`, this);
  }

  lock() {
    this.locked = this.locked ? null : this.ranges;
    this.draw();
  }

  // ---- the canvas ----

  paint(view) {
    const box = this.querySelector('.chart-plot');
    const [width, height] = [box.clientWidth, box.clientHeight];
    if (width < 40 || height < 40) return;
    const [x, ...ys] = this.columns;
    const units = units_of(view.series);
    const x_range = view.x_range ?? padded(roomy(extent(x) ?? [0, 1]));
    this.ranges = this.locked ?? units.map((unit, n) => {
      const own = view.series.map((s, i) => ((s.unit ?? '') === unit ? extent(ys[i]) : null));
      const found = roomy(whole([...own, n === 0 ? view.y_range : null]) ?? [0, 1]);
      return uPlot.rangeNum(found[0], found[1], 0.08, true);
    });
    if (!this.plot) this.plot = new uPlot(options(this, view, units, width, height), [x, ...ys], box);
    else {
      if (this.plot.width !== width || this.plot.height !== height) this.plot.setSize({ width, height });
      this.plot.setData([x, ...ys], false);
    }
    this.plot.batch(() => {
      this.plot.setScale('x', { min: x_range[0], max: x_range[1] });
      this.ranges.forEach(([min, max], n) => this.plot.setScale(`y${n}`, { min, max }));
    });
    // Also when no range changed.
    this.plot.redraw(true, true);
  }

  /** What is under the pointer, in words. */
  pointed(plot) {
    const { idxs } = plot.cursor;
    const row = idxs?.slice(1).find((i) => i !== null && i !== undefined);
    const view = this.wanted;
    const [x, ...ys] = this.columns;
    const said = row === undefined ? null : [axis_value(view.x, x[row]), ...view.series.flatMap((s, i) => (Number.isNaN(ys[i][row]) ? [] : [`${s.name} ${with_unit(ys[i][row], s.unit)}`]))].join(' · ');
    if (said === this.at) return;
    this.at = said;
    const place = this.querySelector('.chart-at');
    if (place) this.frame(view, false);
  }
}

customElements.define('live-chart', LiveChart);

/** What is at the edge is drawn whole. */
const padded = ([least, most]) => [least - EDGE * (most - least), most + EDGE * (most - least)];

/** Points may be a view of something that lasts. */
const source_of = (points) => points?.source ?? points;

function options(chart, view, units, width, height) {
  const ink = () => chart.colours['--muted'];
  const line = () => chart.colours['--grid'];
  const axis = (more) => ({ stroke: ink, font: FONT, labelFont: FONT, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 5 }, ...more });
  return {
    width, height, ms: 1e-3, pxAlign: 0,
    // The last time of day below the axis is wider than a number.
    padding: [10, units.length > 1 ? 0 : view.x.time ? 32 : 12, 0, 0],
    legend: { show: false },
    cursor: {
      drag: { x: false, y: false, setScale: false }, y: false, points: { size: 9 },
      dataIdx: (plot, s) => {
        if (s === 0) return null;
        const { left, top } = plot.cursor;
        const [x] = chart.columns;
        const scale = plot.series[s].scale;
        return nearest(x, chart.columns[s], left, top, (v) => plot.valToPos(v, 'x'), (v) => plot.valToPos(v, scale));
      },
    },
    scales: Object.fromEntries([['x', { time: Boolean(view.x.time), auto: false, range: (_, least, most) => [least, most] }],
      ...units.map((_, n) => [`y${n}`, { auto: false, range: (plot, least, most) => [least, most] }])]),
    axes: [
      axis({ size: 36, space: view.x.time ? 90 : 50, values: (_, at, i, space, step) => (view.x.time ? times(at, step) : ticks(at, step)) }),
      ...units.slice(0, 2).map((_, n) => axis({
        scale: `y${n}`, side: n ? 1 : 3, size: (_, values) => 22 + 8 * Math.max(2, ...(values ?? []).map((v) => v.length)),
        values: (_, at, i, space, step) => ticks(at, step), ...(n ? { grid: { show: false } } : {}),
      })),
    ],
    series: [{ auto: false }, ...view.series.map((s, i) => {
      const [token, dash] = STROKES[i % STROKES.length];
      return {
        scale: `y${units.indexOf(s.unit ?? '')}`, auto: false, stroke: () => chart.colours[token], fill: () => chart.colours[token], width: 2, dash: s.style === 'points' ? [] : dash,
        points: { show: false }, paths: (plot, n) => path(plot, n, s.style === 'points', chart.wanted),
      };
    })],
    hooks: {
      drawClear: [(plot) => under(plot, chart)],
      draw: [(plot) => levels(plot, chart), (plot) => over(plot, chart)],
      setCursor: [(plot) => chart.pointed(plot)],
    },
  };
}

/** A series: lines from value to value, none over a gap (the stroke), and dots where a line would not show (the fill). */
function path(plot, n, dots_only, how) {
  const [x, y] = [plot.data[0], plot.data[n]];
  const { scale } = plot.series[n];
  const stroke = new Path2D();
  const fill = new Path2D();
  const to_x = (v) => plot.valToPos(v, 'x', true);
  const to_y = (v) => plot.valToPos(v, scale, true);
  const size = 3 * devicePixelRatio;
  const dots = dots_only || y.length * DOT_EVERY_PX * devicePixelRatio < plot.bbox.width;
  const dot = (i) => {
    const [left, top] = [to_x(x[i]), to_y(y[i])];
    fill.moveTo(left + size, top);
    fill.arc(left, top, size, 0, 2 * Math.PI);
  };
  for (const { from, to } of runs(x, y, how)) {
    if (from === to && !dots_only) dot(from);
    if (!dots_only) {
      stroke.moveTo(to_x(x[from]), to_y(y[from]));
      for (let i = from + 1; i <= to; i += 1) stroke.lineTo(to_x(x[i]), to_y(y[i]));
    }
    if (dots) for (let i = from; i <= to; i += 1) dot(i);
  }
  return { stroke, fill, clip: null, band: null, gaps: null, flags: 1 };
}

/** Bands, below everything; their edges, so that they are seen where grounds have no colour. */
function under(plot, chart) {
  const { bands = [] } = chart.wanted;
  const { ctx, bbox } = plot;
  const [top, bottom] = [bbox.top, bbox.top + bbox.height];
  const place = (v, edge) => (v === null || v === undefined ? edge : Math.min(bottom, Math.max(top, plot.valToPos(v, 'y0', true))));
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  for (const { from, to, tone } of bands) {
    const [low, high] = [place(from, bottom), place(to, top)];
    ctx.fillStyle = chart.colours[`--${tone}-soft`];
    ctx.fillRect(bbox.left, high, bbox.width, low - high);
    ctx.strokeStyle = chart.colours[`--${tone}`];
    for (const y of [low, high]) if (y > top && y < bottom) ctx.strokeRect(bbox.left, y, bbox.width, 0);
  }
  ctx.restore();
}

/** Levels with their words. */
function levels(plot, chart) {
  const { lines = [] } = chart.wanted;
  const { ctx, bbox } = plot;
  const px = devicePixelRatio;
  ctx.save();
  ctx.font = `${14 * px}px system-ui, sans-serif`;
  ctx.textAlign = 'left';
  for (const { at, tone, label } of lines) {
    const y = plot.valToPos(at, 'y0', true);
    if (y < bbox.top || y > bbox.top + bbox.height) continue;
    ctx.setLineDash([6 * px, 4 * px]);
    ctx.lineWidth = 1.5 * px;
    ctx.strokeStyle = ctx.fillStyle = chart.colours[`--${tone}`];
    ctx.strokeRect(bbox.left, y, bbox.width, 0);
    if (!label) continue;
    ctx.setLineDash([]);
    ctx.lineWidth = 4 * px;
    ctx.strokeStyle = chart.colours['--surface'];
    const base = y - 6 * px > bbox.top + 14 * px ? y - 6 * px : y + 18 * px;
    ctx.strokeText(label, bbox.left + 6 * px, base);
    ctx.fillText(label, bbox.left + 6 * px, base);
  }
  ctx.restore();
}

/** Markers, above the lines. */
function over(plot, chart) {
  const { markers = [] } = chart.wanted;
  if (!markers.length) return;
  const { ctx } = plot;
  const { bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.lineWidth = 2 * devicePixelRatio;
  for (const { x, y, tone = 'bad' } of markers) {
    ctx.strokeStyle = chart.colours[`--${tone}`];
    ctx.beginPath();
    ctx.arc(plot.valToPos(x, 'x', true), plot.valToPos(y, 'y0', true), 6 * devicePixelRatio, 0, 2 * Math.PI);
    ctx.stroke();
  }
  ctx.restore();
}

function colours(element) {
  const style = getComputedStyle(element);
  const names = ['--ink', '--muted', '--grid', '--surface', ...STROKES.map(([token]) => token), '--good-soft', '--busy-soft', '--warn-soft', '--bad-soft', '--off'];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(name).trim()]));
}

// ---- words ----

const units_of = (series) => [...new Set(series.map((s) => s.unit ?? ''))];
const axis_name = ({ name, unit }) => (unit ? `${name} (${unit_text(unit)})` : name);
const with_unit = (value, unit) => `${measure(value)}${unit ? ` ${unit_text(unit)}` : ''}`;
const axis_value = (x, value) => (x.time ? moment(value * 1_000) : `${x.name} ${with_unit(value, x.unit)}`);

const clocks = new Map();
/** Times of day, as finely as the ticks are apart (s); days where they are whole days. */
function times(at, step) {
  const kind = step >= 86_400 ? 'day' : step >= 60 ? 'minute' : step >= 1 ? 'second' : 'fraction';
  const key = kind + current();
  if (!clocks.has(key)) {
    const hour = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };
    const parts = { day: { day: 'numeric', month: 'short' }, minute: hour, second: { ...hour, second: '2-digit' }, fraction: { ...hour, second: '2-digit', fractionalSecondDigits: 2 } };
    clocks.set(key, new Intl.DateTimeFormat(current(), parts[kind]));
  }
  return at.map((s) => (s === null ? null : clocks.get(key).format(s * 1_000)));
}

function ticks(at, step) {
  const n = places(step);
  return at.map((v) => (v === null ? null : Math.abs(v) >= 1e6 || (step < 1e-4 && v !== 0) ? number(v) : number(v, n)));
}

function figures_last(y) {
  for (let i = (y?.length ?? 0) - 1; i >= 0; i -= 1) if (!Number.isNaN(y[i])) return y[i];
  return null;
}

/** What a screen reader is told instead of the picture. */
function words(view, x, ys) {
  const parts = view.series.map((s, i) => {
    const { n, least, most, last } = figures(ys[i]);
    if (!n) return t('chart.words_none', { name: s.name });
    const holes = gaps(x, ys[i], view.step);
    return `${t('chart.words', { name: s.name, n, count: count(n), least: with_unit(least, s.unit), most: with_unit(most, s.unit), last: with_unit(last, s.unit) })}${
      holes ? ` ${t('chart.words_gaps', { n: holes })}` : ''}`;
  });
  return `${view.label}. ${t('chart.over', { x: axis_name(view.x) })} ${parts.join(' ')}`;
}

/** How the line of a series looks. */
const swatch = (i, { style: kind }) => html`<svg class="chart-swatch" data-series=${i % STROKES.length} data-style=${kind ?? 'line'} viewBox="0 0 28 12" aria-hidden="true"><path d="M2 6H26"></path></svg>`;

/** The newest rows, newest first. */
function table(view, x, ys) {
  const rows = [];
  for (let i = x.length - 1; i >= 0 && rows.length < (view.table ?? TABLE); i -= 1) if (!Number.isNaN(x[i])) rows.push(i);
  return html`<div class="chart-scroll" tabindex="0" role="group" aria-label=${t('chart.table')}><table class="chart-rows">
    <thead><tr><th scope="col">${axis_name(view.x)}</th>${view.series.map((s) => html`<th scope="col">${axis_name(s)}</th>`)}</tr></thead>
    <tbody>${rows.map((i) => html`<tr><th scope="row" class="num">${view.x.time ? moment(x[i] * 1_000) : measure(x[i])}</th>${ys.map((y) => html`<td class="num">${measure(Number.isNaN(y[i]) ? null : y[i])}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}
