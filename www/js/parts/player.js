// The player of the recording that is open: waveform, transport, what happened when, a cutter for clips. It only draws;
// the sound is core/playback.js, so nothing here ends it.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { repeat } from '../../vendor/lit-html/directives/repeat.js';
import { decibel, duration, moment, number, percent, place } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { RATES } from '../core/playback.js';
import { peak_of, wave_for, window_of } from '../state/waveform.js';
import { icon } from './icon.js';
import './waveform.js';

export const SKIP_S = 10;
const STEP_S = 5;
const FINE_S = 1;
const GAINS = { least: 1, most: 30 };
const ZOOM_MOST = 64;
/** Of more markers than this the rest is only drawn. */
const MARKERS = 60;

/** About as many points as a waveform across the page can show. */
export const shown_pixels = () => Math.min(2_000, innerWidth) * (devicePixelRatio || 1);

/** What the player keeps besides the sound. */
export const player_state = () => ({ gain: 1, zoom: 1, window: null, follow: true });

/**
 * `it` is {opened, playback, ui, clip, markers_open, now, cut}; `clip` is what parts/clip_editor.js keeps, or null.
 * `editor` draws the cutter, within sight of the waveform.
 */
export function player(app, it, editor) {
  const { opened, playback, ui, clip } = it;
  const { recording, wave } = opened;
  const length = playback.duration_s ?? recording.duration_s ?? null;
  const at = playback.position_s;
  ui.window = window_of(length ?? wave.data?.duration_s ?? 0, ui.zoom, at, ui.window);
  opened.want(shown_pixels(), ui.window);
  const act = (what) => () => {
    what();
    app.ticker.now();
  };
  const seek = (s) => playback.seek(s);
  const view = {
    wave: wave_for(wave.data, wave.detail, ui.window), duration_s: length, ...ui.window, gain: ui.gain, position_s: at, markers: recording.markers, now: playback.playing ? it.now : null,
    clip: clip ? { start_s: clip.start_s, end_s: clip.end_s, start_label: t('clip.start'), end_label: t('clip.end') } : null,
    summary: summary(recording, wave.data, length), label: t('player.position'),
  };
  return html`<div class="player" data-playing=${playback.playing ? 'true' : 'false'} data-wave=${wave.status} role="group" aria-label=${t('player.label', { name: recording.label || recording.name })}>
    <wave-form .view=${view} @seek=${({ detail }) => act(() => seek(detail))()} @cut=${({ detail }) => it.cut(detail)}></wave-form>
    ${wave_words(app, opened)}
    <div class="player-where">
      <span class="player-time num" data-position>${place(at)}</span><span class="num muted">/ ${length === null ? t('player.length_unknown') : place(length)}</span>
      ${recording.started_at ? html`<span class="player-clock num" title=${t('player.clock')}>${icon('clock')}<span>${moment(Date.parse(recording.started_at) + at * 1_000)}</span></span>` : nothing}
      ${recording.growing ? html`<span class="chip" data-tone="bad">${icon('circle-dot')}<span>${t('recordings.live_word')}</span></span>` : nothing}
    </div>
    ${trouble(app, it)}
    <div class="player-keys">
      <button type="button" class="button" data-key="back" aria-label=${t('player.back', { s: SKIP_S })} @click=${act(() => playback.skip(-SKIP_S))}>${icon('rotate-ccw')}<span>${SKIP_S} s</span></button>
      <button type="button" class="button primary player-play" data-key="play" aria-disabled=${recording.playable === false ? 'true' : 'false'} @click=${act(() => recording.playable !== false && playback.toggle())}>${
        playback.playing ? icon('pause') : icon('play')}<span>${t(playback.playing ? 'player.pause' : 'player.play')}</span></button>
      <button type="button" class="button" data-key="forward" aria-label=${t('player.forward', { s: SKIP_S })} @click=${act(() => playback.skip(SKIP_S))}>${icon('rotate-cw')}<span>${SKIP_S} s</span></button>
    </div>
    ${editor()}
    <div class="player-set">
      <label class="field small"><span>${t('player.speed')}</span><select data-set="rate" @change=${(e) => act(() => playback.set_rate(Number(e.target.value)))()}>${
        RATES.map((rate) => html`<option value=${rate} .selected=${rate === playback.rate}>${number(rate)}×</option>`)}</select></label>
      <div class="field small" role="group" aria-label=${t('player.zoom')}><span>${t('player.zoom')}</span><div class="pair">
        <button type="button" class="button" data-key="out" aria-label=${t('player.zoom_out')} aria-disabled=${ui.zoom <= 1 ? 'true' : 'false'} @click=${act(() => { ui.zoom = Math.max(1, ui.zoom / 2); })}>${icon('zoom-out')}</button>
        <span class="num">${ui.zoom}×</span>
        <button type="button" class="button" data-key="in" aria-label=${t('player.zoom_in')} aria-disabled=${ui.zoom >= ZOOM_MOST ? 'true' : 'false'} @click=${act(() => { ui.zoom = Math.min(ZOOM_MOST, ui.zoom * 2); })}>${icon('zoom-in')}</button></div></div>
      <label class="field small grow"><span>${t('player.gain')} <span class="num">${ui.gain}×</span></span><input type="range" data-set="gain" min=${GAINS.least} max=${GAINS.most} step="1" .value=${String(ui.gain)}
        @input=${(e) => act(() => { ui.gain = Number(e.target.value); })()}></label>
      ${sources(recording, playback, act)}
    </div>
    ${markers(recording, playback, act, it)}
  </div>`;
}

/** The waveform as a sentence, for those who don't see it. */
function summary(recording, data, length) {
  const kinds = (kind) => (recording.markers ?? []).filter((m) => m.kind === kind).length;
  const peak = data ? peak_of(data) : 0;
  return t('player.summary', {
    name: recording.label || recording.name, length: duration(length), peak: peak > 0 ? decibel(20 * Math.log10(peak)) : '–',
    triggers: kinds('trigger'), motion: kinds('motion'),
  });
}

function wave_words(app, opened) {
  const { wave } = opened;
  const again = html`<button type="button" class="button small" @click=${() => opened.again()}>${t('page.retry')}</button>`;
  switch (wave.status) {
    case 'loading': return html`<p class="wave-words" data-wave-words="loading">${t('player.wave_loading')}</p>`;
    case 'pending': return html`<p class="wave-words" data-wave-words="pending">${t('player.wave_pending', { share: wave.progress === null ? '' : percent(wave.progress) })}</p>`;
    case 'none': return html`<p class="wave-words" data-wave-words="none">${t('player.wave_none', { reason: failure(wave.error) })}</p>`;
    case 'error': return html`<p class="wave-words" data-wave-words="error">${t('player.wave_error', { reason: failure(wave.error) })} ${again}</p>`;
    default: return nothing;
  }
}

/** What became of a request, in words. */
export function failure(error) {
  if (!error) return t('failed.network');
  return ['network', 'timeout', 'cancelled'].includes(error.code) ? t(`failed.${error.code}`) : error.text;
}

function trouble(app, { playback, opened }) {
  const { recording } = opened;
  if (recording.playable === false) {
    return html`<p class="note" data-tone="warn" data-trouble="unplayable">${icon('info')}<span>${t('player.unplayable', { extension: recording.extension ?? '' })}</span></p>`;
  }
  if (playback.error) {
    return html`<p class="note" data-tone="bad" data-trouble=${playback.error} role="status">${icon('circle-x')}<span>${t('player.failed', { reason: t(`player.fault.${playback.error}`) })}</span>
      <button type="button" class="button small" @click=${() => { playback.play(); app.ticker.now(); }}>${t('page.retry')}</button></p>`;
  }
  if (recording.error) return html`<p class="note" data-tone="bad">${icon('circle-x')}<span>${recording.error}</span></p>`;
  return nothing;
}

function sources(recording, playback, act) {
  const all = [{ recording_id: recording.recording_id, extension: recording.extension }, ...(recording.siblings ?? [])];
  if (all.length < 2) return nothing;
  return html`<div class="field small" role="group" aria-label=${t('player.source')}><span>${t('player.source')}</span><div class="pair">${
    all.map((s) => html`<button type="button" class="button" data-source=${s.extension} aria-pressed=${playback.source === s.recording_id ? 'true' : 'false'}
      @click=${act(() => playback.switch(s.recording_id))}>${(s.extension ?? '?').toUpperCase()}</button>`)}</div></div>`;
}

function markers(recording, playback, act, it) {
  const all = [...(recording.markers ?? [])].sort((a, b) => a.at_s - b.at_s);
  if (!all.length) return nothing;
  return html`<details class="markers" ?open=${it.markers_open} @toggle=${(e) => { it.markers_open = e.target.open; }}>
    <summary>${t('player.markers', { n: all.length })}</summary>
    <ul class="marker-list">${repeat(all.slice(0, MARKERS), (m, i) => `${i}${m.kind}${m.at_s}`, (m) => html`<li><button type="button" class="button small" data-marker=${m.kind} @click=${act(() => playback.seek(m.at_s))}>
      <span class="marker ${m.kind}" aria-hidden="true"></span><span>${m.label ? `${word('marker', m.kind)}: ${m.label}` : word('marker', m.kind)}</span> <span class="num">${place(m.at_s)}${
      typeof m.until_s === 'number' ? `–${place(m.until_s)}` : ''}</span></button></li>`)}</ul>
    ${all.length > MARKERS ? html`<p class="more">${t('list.more', { n: all.length - MARKERS })}</p>` : nothing}
  </details>`;
}

/** The keys of the player; true when one was for it. Nothing is taken from a field, and none with Ctrl, Alt or Meta. */
export function player_key(event, playback, recording) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || document.querySelector('dialog[open]')) return false;
  const on = event.target instanceof Element ? event.target : document.body;
  if (on.closest('input, select, textarea, [contenteditable]')) return false;
  const press = on.closest('button, a, summary');
  const step = event.shiftKey ? FINE_S : STEP_S;
  switch (event.key) {
    case ' ':
      if (press) return false;
      // falls through
    case 'k': case 'K':
      if (recording.playable !== false) playback.toggle();
      break;
    case 'j': case 'J': playback.skip(-SKIP_S); break;
    case 'l': case 'L': playback.skip(SKIP_S); break;
    case 'ArrowLeft': playback.skip(-step); break;
    case 'ArrowRight': playback.skip(step); break;
    case 'Home': playback.seek(0); break;
    case 'End': playback.seek(playback.duration_s ?? 0); break;
    default: return false;
  }
  event.preventDefault();
  return true;
}
