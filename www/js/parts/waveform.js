// A waveform to look at and to seek in. One canvas, drawn when it is given something new and at most ten times a second,
// as sharp as the screen is; above it the slider for seeking and, while a clip is cut, one for each of its ends. A finger
// that goes sideways scrubs, one that goes up or down scrolls the page.

import { place } from '../core/format.js';
import { columns_of, ruler_step } from '../state/waveform.js';

const RULER_PX = 22;
const HANDLE_PX = 46;
/** While it plays. */
const MOVE_MS = 100;
/** A finger must go this far sideways before it scrubs. */
const SIDEWAYS_PX = 6;

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

export class WaveForm extends HTMLElement {
  constructor() {
    super();
    this.last = null;
    this.scrub_s = null;
    this.layers = new Map();
  }

  /**
   * {wave, duration_s, from_s, to_s, gain, position_s, now, markers, clip, summary, label}: `clip` is {start_s, end_s,
   * start_label, end_label} or null; `now` gives the position between two drawings of the page while it plays, else null.
   */
  set view(view) {
    const before = this.last;
    this.last = view;
    if (!this.canvas) return;
    const same = before && Object.keys(view).every((k) => view[k] === before[k] || (k === 'clip' && same_clip(view.clip, before.clip)));
    if (!same) this.update();
    clearInterval(this.moving);
    if (view.now) this.moving = setInterval(() => this.move(), MOVE_MS);
  }

  move() {
    if (document.visibilityState === 'hidden' || this.scrub_s !== null) return;
    this.last = { ...this.last, position_s: this.last.now() };
    this.draw();
  }

  connectedCallback() {
    if (!this.canvas) this.build();
    this.resize = new ResizeObserver(() => this.update());
    this.resize.observe(this);
    this.themed = new MutationObserver(() => this.update());
    this.themed.observe(document.documentElement, { attributeFilter: ['data-theme', 'data-lost'] });
  }

  disconnectedCallback() {
    clearInterval(this.moving);
    this.resize.disconnect();
    this.themed.disconnect();
  }

  build() {
    this.canvas = document.createElement('canvas');
    this.canvas.setAttribute('role', 'img');
    this.slider = slider('wave-seek');
    this.handles = { start: slider('wave-handle start'), end: slider('wave-handle end') };
    this.append(this.canvas, this.slider, this.handles.start, this.handles.end);
    this.seek_by_pointer();
    for (const end of ['start', 'end']) this.drag_handle(end);
  }

  update() {
    if (!this.canvas || !this.last) return;
    const { last, slider: seek } = this;
    this.canvas.setAttribute('aria-label', last.summary);
    const at = this.scrub_s ?? last.position_s;
    say(seek, { label: last.label, least: 0, most: last.duration_s ?? 0, now: at, text: place(at) });
    for (const end of ['start', 'end']) {
      const handle = this.handles[end];
      handle.hidden = !last.clip;
      if (!last.clip) continue;
      const s = last.clip[`${end}_s`] ?? 0;
      say(handle, { label: last.clip[`${end}_label`], least: 0, most: last.duration_s ?? 0, now: s, text: place(s) });
      // Beside its line, outside the clip, but never beyond the waveform.
      const x = this.x_of(s) - (end === 'start' ? HANDLE_PX : 0);
      handle.style.setProperty('--at', `${clamp(x, 0, this.clientWidth - HANDLE_PX)}px`);
    }
    this.draw();
  }

  x_of(s) {
    const { from_s, to_s } = this.last;
    return ((s - from_s) / (to_s - from_s)) * this.clientWidth;
  }

  s_of(x) {
    const { from_s, to_s, duration_s } = this.last;
    return clamp(from_s + (x / this.clientWidth) * (to_s - from_s), 0, duration_s ?? to_s);
  }

  // ---- hands ----

  seek_by_pointer() {
    const { slider: seek } = this;
    let press = null;
    const at = (event) => this.s_of(event.clientX - this.getBoundingClientRect().left);
    const end = () => {
      press = null;
      this.scrub_s = null;
      this.update();
    };
    seek.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      press = { x: event.clientX, id: event.pointerId, scrubs: event.pointerType === 'mouse' };
      if (!press.scrubs) return;
      seek.setPointerCapture(event.pointerId);
      this.scrub_s = at(event);
      this.update();
    });
    seek.addEventListener('pointermove', (event) => {
      if (press?.id !== event.pointerId) return;
      if (!press.scrubs && Math.abs(event.clientX - press.x) >= SIDEWAYS_PX) {
        press.scrubs = true;
        seek.setPointerCapture(event.pointerId);
      }
      if (!press.scrubs) return;
      this.scrub_s = at(event);
      this.update();
    });
    seek.addEventListener('pointerup', (event) => {
      if (press?.id !== event.pointerId) return;
      const to = at(event);
      end();
      this.tell('seek', to);
    });
    // The finger went up or down: the page scrolls, nothing was sought.
    seek.addEventListener('pointercancel', end);
  }

  drag_handle(which) {
    const handle = this.handles[which];
    let held = null;
    handle.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      held = { id: event.pointerId, from_x: event.clientX, s: this.last.clip[`${which}_s`] ?? 0 };
      handle.setPointerCapture(event.pointerId);
      event.stopPropagation();
    });
    handle.addEventListener('pointermove', (event) => {
      if (held?.id !== event.pointerId) return;
      const s = this.s_of(this.x_of(held.s) + event.clientX - held.from_x);
      // The page is not drawn while a finger is down; this is.
      this.last = { ...this.last, clip: { ...this.last.clip, [`${which}_s`]: s } };
      this.update();
      this.tell('cut', { which, s });
    });
    for (const name of ['pointerup', 'pointercancel']) handle.addEventListener(name, () => { held = null; });
    handle.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: -0.1, ArrowRight: 0.1, PageDown: -1, PageUp: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      this.tell('cut', { which, s: clamp((this.last.clip[`${which}_s`] ?? 0) + step, 0, this.last.duration_s ?? Infinity) });
    });
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  // ---- drawing ----

  draw() {
    const { clientWidth: width, clientHeight: height, last } = this;
    if (!width || !height) return;
    const scale = devicePixelRatio || 1;
    const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
    }
    const style = getComputedStyle(this);
    const colour = (name) => style.getPropertyValue(name).trim();
    const pen = this.canvas.getContext('2d');
    const body = height - RULER_PX;
    const x_of = (s) => this.x_of(s);
    const sun = document.documentElement.dataset.theme === 'sun';
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = colour('--ground');
    pen.fillRect(0, 0, width, body);

    for (const marker of last.markers ?? []) {
      if (marker.kind !== 'motion') continue;
      const [a, b] = [x_of(marker.at_s), Math.max(x_of(marker.at_s) + 3, x_of(marker.until_s ?? last.duration_s ?? marker.at_s))];
      pen.fillStyle = colour('--warn-soft');
      pen.fillRect(a, 0, b - a, body);
      pen.fillStyle = colour('--warn');
      pen.fillRect(a, 0, b - a, sun ? 6 : 4);
      if (sun) {
        pen.fillRect(a, 0, 2, body);
        pen.fillRect(b - 2, 0, 2, body);
      }
    }
    if (last.clip && last.clip.start_s !== null && last.clip.end_s !== null) {
      const [a, b] = [x_of(last.clip.start_s), x_of(last.clip.end_s)];
      pen.fillStyle = colour('--accent-soft');
      pen.fillRect(a, 0, b - a, body);
    }
    pen.fillStyle = colour('--line');
    pen.fillRect(0, Math.round(body / 2), width, 1);
    const at = this.scrub_s ?? last.position_s;
    if (last.wave) {
      const cut = clamp(Math.round(x_of(at) * scale), 0, w);
      this.blit(pen, colour('--accent'), 0, cut, scale, body);
      this.blit(pen, colour('--ink'), cut, w, scale, body);
    }
    if (last.clip) {
      pen.fillStyle = colour('--accent');
      for (const s of [last.clip.start_s, last.clip.end_s]) if (s !== null) pen.fillRect(clamp(x_of(s) - 1.5, 0, width - 3), 0, 3, body);
      // Without tinted grounds, too, what is kept is told from what is not.
      if (last.clip.start_s < last.clip.end_s) pen.fillRect(x_of(last.clip.start_s), body - 6, x_of(last.clip.end_s) - x_of(last.clip.start_s), 6);
    }
    for (const marker of last.markers ?? []) {
      if (marker.kind === 'motion') continue;
      const x = x_of(marker.at_s);
      if (x < -6 || x > width + 6) continue;
      const begins = marker.kind === 'trigger';
      pen.strokeStyle = pen.fillStyle = colour(begins ? '--good' : '--bad');
      pen.lineWidth = 2;
      pen.setLineDash(begins ? [] : [4, 4]);
      pen.beginPath();
      pen.moveTo(x, 0);
      pen.lineTo(x, body);
      pen.stroke();
      pen.setLineDash([]);
      pen.beginPath();
      if (begins) { pen.moveTo(x, 0); pen.lineTo(x + 11, 6); pen.lineTo(x, 12); } else { pen.moveTo(x, 0); pen.lineTo(x - 11, 6); pen.lineTo(x, 12); }
      pen.fill();
    }
    this.ruler(pen, colour, width, body);
    this.playhead(pen, colour, x_of(at), width, body, at);
  }

  /** The columns between two device pixels, from a layer that is kept until it would look different. */
  blit(pen, colour, from, to, scale, body) {
    if (to <= from) return;
    const { last } = this;
    const [w, h] = [this.canvas.width, Math.round(body * scale)];
    const key = [w, h, last.from_s, last.to_s, last.gain].join();
    let layer = this.layers.get(colour);
    if (layer?.key !== key || layer.wave !== last.wave) {
      if (this.layers.size > 3) this.layers.clear();
      const canvas = layer?.canvas ?? document.createElement('canvas');
      canvas.width = w;
      canvas.height = h;
      const ink = canvas.getContext('2d');
      ink.fillStyle = colour;
      const middle = h / 2;
      columns_of(last.wave, last, w).forEach((column, x) => {
        if (!column) return;
        const top = clamp(middle - column[1] * last.gain * middle, 0, h);
        const bottom = clamp(middle - column[0] * last.gain * middle, 0, h);
        ink.fillRect(x, top, 1, Math.max(1, bottom - top));
      });
      layer = { key, wave: last.wave, canvas };
      this.layers.set(colour, layer);
    }
    pen.save();
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.drawImage(layer.canvas, from, 0, to - from, h, from, 0, to - from, h);
    pen.restore();
  }

  ruler(pen, colour, width, body) {
    const { from_s, to_s } = this.last;
    const step = ruler_step(to_s - from_s, width);
    pen.font = `13px ${getComputedStyle(this).fontFamily}`;
    pen.textBaseline = 'middle';
    pen.textAlign = 'left';
    for (let s = Math.ceil(from_s / step - 1e-9) * step; s <= to_s; s += step) {
      const x = this.x_of(s);
      pen.fillStyle = colour('--edge');
      pen.fillRect(x, body, 1, 5);
      const text = step < 1 ? place(s) : place(s).replace(/\.\d$/, '');
      if (x + pen.measureText(text).width + 8 > width) break;
      pen.fillStyle = colour('--muted');
      pen.fillText(text, x + 4, body + RULER_PX / 2 + 2);
    }
  }

  playhead(pen, colour, x, width, body, at) {
    if (x < -1 || x > width + 1) return;
    pen.fillStyle = colour('--bad');
    pen.fillRect(clamp(x - 1.5, 0, width - 3), 0, 3, body);
    pen.beginPath();
    pen.arc(clamp(x, 7, width - 7), body, 7, 0, 7);
    pen.fill();
    if (this.scrub_s === null) return;
    pen.font = `600 16px ${getComputedStyle(this).fontFamily}`;
    const text = place(at);
    const wide = pen.measureText(text).width + 16;
    const left = clamp(x - wide / 2, 0, width - wide);
    pen.fillStyle = colour('--ink');
    pen.fillRect(left, 16, wide, 28);
    pen.fillStyle = colour('--surface');
    pen.textAlign = 'left';
    pen.textBaseline = 'middle';
    pen.fillText(text, left + 8, 31);
  }
}

const same_clip = (a, b) => a === b || (a && b && a.start_s === b.start_s && a.end_s === b.end_s);

function slider(classes) {
  const element = document.createElement('div');
  element.className = classes;
  element.tabIndex = 0;
  element.setAttribute('role', 'slider');
  return element;
}

function say(element, { label, least, most, now, text }) {
  const set = (name, value) => { if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value); };
  set('aria-label', label);
  set('aria-valuemin', least);
  set('aria-valuemax', Math.round(most * 10) / 10);
  set('aria-valuenow', Math.round(now * 10) / 10);
  set('aria-valuetext', text);
}

customElements.define('wave-form', WaveForm);
