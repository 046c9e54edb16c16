// A level meter from -72 to 0 dB with the threshold and the held peak, on its own small canvas. It draws when it is
// given something new, with the colours of the theme.

const LEAST_DB = -72;
const MARKS = [-60, -48, -36, -24, -12];

/** Where a level stands on the scale, 0..1. */
export const position = (db) => Math.min(1, Math.max(0, 1 - db / LEAST_DB));

export class LevelMeter extends HTMLElement {
  /** {level, threshold, peak, stale}: dB or null. */
  set reading(reading) {
    const same = this.last && Object.keys(reading).every((k) => reading[k] === this.last[k]);
    this.last = reading;
    if (!same) this.draw();
  }

  connectedCallback() {
    if (!this.canvas) {
      this.canvas = document.createElement('canvas');
      this.append(this.canvas);
    }
    this.resize = new ResizeObserver(() => this.draw());
    this.resize.observe(this);
    this.themed = new MutationObserver(() => this.draw());
    this.themed.observe(document.documentElement, { attributeFilter: ['data-theme'] });
  }

  disconnectedCallback() {
    this.resize.disconnect();
    this.themed.disconnect();
  }

  draw() {
    if (!this.canvas || !this.last) return;
    const { clientWidth: width, clientHeight: height } = this;
    if (!width) return;
    const scale = devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
    }
    const pen = this.canvas.getContext('2d');
    const style = getComputedStyle(this);
    const colour = (name) => style.getPropertyValue(name).trim();
    const { level, threshold, peak, stale } = this.last;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const bar = { y: 6, h: height - 12 };
    pen.fillStyle = colour('--well');
    pen.fillRect(0, bar.y, width, bar.h);
    if (level !== null) {
      const over = threshold !== null && level >= threshold;
      pen.fillStyle = stale ? colour('--off') : colour(over ? '--good' : '--busy');
      pen.fillRect(0, bar.y, position(level) * width, bar.h);
    }
    pen.fillStyle = colour('--surface');
    for (const mark of MARKS) pen.fillRect(Math.round(position(mark) * width), bar.y, 1, bar.h);
    if (colour('--well') === colour('--surface')) {
      pen.strokeStyle = colour('--edge');
      pen.lineWidth = 2;
      pen.strokeRect(1, bar.y + 1, width - 2, bar.h - 2);
    }
    if (peak !== null) {
      pen.fillStyle = colour(peak > -3 ? '--bad' : '--ink');
      pen.fillRect(Math.min(width - 2, position(peak) * width - 1), bar.y, 2, bar.h);
    }
    if (threshold !== null) {
      const x = Math.min(width - 1, Math.max(1, position(threshold) * width));
      pen.fillStyle = colour('--ink');
      pen.fillRect(x - 1, 0, 2, height);
      pen.beginPath();
      pen.moveTo(x - 5, 0);
      pen.lineTo(x + 5, 0);
      pen.lineTo(x, 6);
      pen.fill();
    }
  }
}

customElements.define('level-meter', LevelMeter);
