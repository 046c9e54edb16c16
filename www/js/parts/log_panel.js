// Log lines in a panel that follows at the end and stands still when the person reads further up. It draws itself, and
// only when its rows change. Everything in it is text.
//
//   <log-panel .view=${{book, label, now_ms, none}} @older @pause @follow></log-panel>
//
// `book` is what state/log.js keeps; `none` is what stands there without rows; `busy` while older ones are loaded.

import { html, nothing, render } from '../../vendor/lit-html/lit-html.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { clock, count } from '../core/format.js';
import { current, t } from '../core/i18n.js';
import { icon } from './icon.js';

const LOOK = {
  DEBUG: ['off', 'minus'], INFO: ['busy', 'info'], WARNING: ['warn', 'triangle-alert'], ERROR: ['bad', 'circle-x'],
  CRITICAL: ['bad', 'octagon-alert'],
};
/** This near to the end counts as the end, px. */
const END = 24;

export class LogPanel extends HTMLElement {
  set view(view) {
    const before = this.last;
    const same = before && before.language === current() && ['book', 'none', 'busy', 'label'].every((k) => before[k] === view[k]);
    this.last = { ...view, language: current() };
    if (!same) this.draw();
  }

  connectedCallback() {
    this.draw();
    this.resize = new ResizeObserver(() => this.settle());
    this.resize.observe(this);
  }

  disconnectedCallback() {
    this.resize.disconnect();
  }

  draw() {
    if (!this.last || !this.isConnected) return;
    const { book, label, now_ms, none, busy } = this.last;
    this.remember();
    render(html`
      <div class="log-scroll" tabindex="0" role="log" aria-live="off" aria-label=${label} @scroll=${() => this.scrolled()}>
        ${book.older !== null ? html`<button type="button" class="button small log-older" aria-disabled=${busy ? 'true' : 'false'} @click=${() => this.say('older')}>${
          busy ? t('log.loading_older') : t('log.older')}</button>` : nothing}
        ${book.rows.length ? html`<ol class="log-rows" data-rows=${book.rows.length}>${repeat(book.rows, (line) => line.id, (line) => row(line, now_ms))}</ol>` : none}
      </div>
      ${book.following ? nothing : html`<button type="button" class="button primary log-follow" data-newer=${book.newer} @click=${() => this.say('follow')}>${
        icon('arrow-down')}<span>${book.newer ? t('log.paused_newer', { count: count(book.newer) }) : t('log.paused')}</span></button>`}`, this);
    this.settle();
  }

  get scroller() {
    return this.querySelector('.log-scroll');
  }

  /** Notes which row the person looks at, so that it stays there when others come before it. */
  remember() {
    const { scroller } = this;
    this.anchor = null;
    if (!scroller) return;
    const top = scroller.getBoundingClientRect().top;
    for (const element of scroller.querySelectorAll('.log-row')) {
      const box = element.getBoundingClientRect();
      if (box.bottom > top) {
        this.anchor = { element, offset: box.top - top };
        return;
      }
    }
  }

  settle() {
    const { scroller } = this;
    if (!scroller || !this.last) return;
    if (this.last.book.following) scroller.scrollTop = scroller.scrollHeight;
    else if (this.anchor?.element.isConnected) {
      scroller.scrollTop += this.anchor.element.getBoundingClientRect().top - scroller.getBoundingClientRect().top - this.anchor.offset;
    }
  }

  scrolled() {
    const { scroller } = this;
    const { following, newer } = this.last.book;
    const at_end = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight <= END;
    if (!at_end && following) this.say('pause');
    // With newer lines waiting the end of what is shown is not the end; the button goes there.
    else if (at_end && !following && newer === 0) this.say('follow');
  }

  say(what) {
    this.dispatchEvent(new CustomEvent(what));
  }
}

customElements.define('log-panel', LogPanel);

function row(line, now_ms) {
  const [tone, shape] = LOOK[line.level] ?? LOOK.INFO;
  return html`<li class="log-row" data-level=${line.level} data-id=${line.id}>
    ${time(line, now_ms)}<span class="log-level" data-tone=${tone}>${icon(shape)}<span>${line.level}</span></span
    >${line.source ? html`<span class="log-source">${line.source}</span>` : nothing}<span class="log-message">${line.message}</span></li>`;
}

/** The time of day, and whether it is the one the clock said. */
function time({ timestamp, corrected, clock: quality }, now_ms) {
  const note = corrected ? t('log.corrected', { said: timestamp }) : quality === 'unsynced' ? t('log.unsynced') : null;
  return html`<time class="log-time num" datetime=${corrected ?? timestamp} title=${note ? `${corrected ?? timestamp}: ${note}` : timestamp} data-clock=${corrected ? 'corrected' : quality ?? 'synced'}>${
    clock(corrected ?? timestamp, now_ms)}${note ? html`<abbr title=${note}>${corrected ? '≈' : '?'}</abbr>` : nothing}</time>`;
}
