// Cuts a clip out of a WAV recording: two ends, from the playhead, by dragging on the waveform or typed; a name; as a
// recording of its own, or in place of the original, which then waits in the bin.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { path_of } from '../core/recordings.js';
import { parse_place, place } from '../core/format.js';
import { t } from '../core/i18n.js';
import { clip_fault, name_fault, split_name } from '../state/recordings.js';
import { command_button, command_note } from './command_button.js';
import { icon } from './icon.js';

const MOST_NAME = 120;

/** A clip as it is begun: from the place where one listens, for up to ten seconds. */
export function begin_clip(recording, at_s, length_s) {
  const start_s = Math.min(at_s, Math.max(0, (length_s ?? 10) - 1));
  return { start_s, end_s: Math.min(length_s ?? start_s + 10, start_s + 10), start_text: null, end_text: null, name: '', overwrite: false, made: null };
}

/** `it` is the page: {clip, opened, playback, cut({which, s}), listen_to(start_s, end_s)}. */
export function clip_editor(app, it) {
  const { clip, opened, playback } = it;
  const { recording } = opened;
  const length = playback.duration_s ?? recording.duration_s;
  const wrong = clip_fault(clip, length) ?? (clip.name.trim() && name_fault(clip.name) ? 'name' : null);
  const name = clip.name.trim();
  const [, end] = split_name(recording.name, recording.extension);
  const order = {
    target: `recording/${recording.recording_id}`, action: 'clip', path: path_of(recording.recording_id, '/clip'),
    body: { start_s: clip.start_s, end_s: clip.end_s, overwrite: clip.overwrite || undefined, name: name && !clip.overwrite ? `${name}${name.toLowerCase().endsWith(end.toLowerCase()) ? '' : end}` : undefined },
    done: (made) => it.clipped(made, clip.overwrite),
  };
  const spans = { start: place(clip.start_s), end: place(clip.end_s) };
  const loss = clip.overwrite ? { title: t('clip.overwrite.title', { name: recording.name }), loss: t('clip.overwrite.loss', spans), action: t('clip.overwrite.confirm') } : null;
  return html`<section class="clip-editor" aria-label=${t('clip.title')}>
    <h3>${t('clip.title')}</h3>
    <p class="hint">${t('clip.hint')}</p>
    <div class="clip-ends">${['start', 'end'].map((which) => end_field(app, it, which))}</div>
    <p class="num" data-clip-length>${wrong === 'time' || wrong === 'short' ? nothing : t('clip.length', { length: place(clip.end_s - clip.start_s) })}</p>
    <label class="field"><span>${t('clip.name')}</span><input type="text" data-clip="name" maxlength=${MOST_NAME} autocomplete="off" spellcheck="false" ?disabled=${clip.overwrite} .value=${clip.name}
      placeholder=${t('clip.name.auto')} @input=${(e) => { clip.name = e.target.value; app.ticker.now(); }}></label>
    <label class="option"><input type="checkbox" data-clip="overwrite" .checked=${clip.overwrite} @change=${(e) => { clip.overwrite = e.target.checked; app.ticker.now(); }}><span>${t('clip.overwrite')}</span></label>
    ${clip.overwrite ? html`<p class="note" data-tone="warn">${icon('triangle-alert')}<span>${t('clip.overwrite.warning')}</span></p>` : nothing}
    ${wrong ? html`<p class="note" data-tone="bad" role="status">${icon('circle-x')}<span>${t(`clip.fault.${wrong}`)}</span></p>` : nothing}
    <div class="actions">
      <button type="button" class="button" data-key="listen" @click=${() => it.listen_to(clip)}>${icon('headphones')}<span>${t('clip.listen')}</span></button>
      ${command_button(app, { order, label: t(clip.overwrite ? 'clip.overwrite.action' : 'clip.save'), shape: 'scissors', primary: !clip.overwrite, destructive: loss, blocked: wrong ? t(`clip.fault.${wrong}`) : null })}
      <button type="button" class="button" data-key="close-clip" @click=${() => it.close_clip()}>${t('clip.close')}</button>
    </div>
    ${command_note(app, { order })}
    ${made(app, it)}
  </section>`;
}

function end_field(app, it, which) {
  const { clip, playback } = it;
  const text = clip[`${which}_text`] ?? place(clip[`${which}_s`]);
  const typed = (event) => {
    clip[`${which}_text`] = event.target.value;
    clip[`${which}_s`] = parse_place(event.target.value);
    app.ticker.now();
  };
  return html`<div class="clip-end"><label class="field"><span>${t(`clip.${which}`)}</span><input type="text" data-clip=${which} inputmode="decimal" maxlength="12" autocomplete="off"
      .value=${text} @input=${typed}></label>
    <button type="button" class="button" data-here=${which} @click=${() => it.cut({ which, s: playback.position_s })}>${t(`clip.${which}.here`)}</button></div>`;
}

/** What was made, with a link to it, and the way back when it took the place of the original. */
function made(app, it) {
  const { made: result } = it.clip;
  if (!result) return nothing;
  const { recording, original_id } = result;
  const restore = original_id ? { target: `recording/${original_id}`, action: 'restore', method: 'PATCH', path: path_of(original_id), body: { restore: true } } : null;
  return html`<p class="note" data-tone="good" data-clip-made role="status">${icon('check')}<span>${t('clip.made')} <a href=${it.address_of(recording.recording_id)}>${recording.name}</a></span>
    ${restore ? command_button(app, { order: restore, label: t('clip.undo'), shape: 'undo-2', name: recording.name }) : nothing}</p>
    ${restore ? command_note(app, { order: restore }) : nothing}`;
}
