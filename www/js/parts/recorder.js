// A recorder as the overview and its own page show it: state, level against the threshold, what can be asked of it.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';
import { decibel, duration } from '../core/format.js';
import { t, word } from '../core/i18n.js';
import { EFFECT, actions_of, is_recording } from '../state/recorders.js';
import { chip, look } from './chip.js';
import { command_button, command_note } from './command_button.js';
import { icon } from './icon.js';
import './meter.js';
import { value } from './value.js';

/** `file` is what stands for the name of the file being written; its words without it. */
export function recorder_state(app, entry, fresh, file) {
  const p = entry.payload;
  const [tone, shape] = look('recorder', p.status);
  return html`<div class="state" data-tone=${tone} ?data-stale=${fresh.stale} data-status=${p.status}>
    ${icon(shape, 'state-icon')}
    <div><span class="state-word">${word('recorder', p.status)}</span>
      ${is_recording(p.status) && typeof p.elapsed_s === 'number' ? html`<span class="state-time num">${duration(elapsed(entry, fresh))}</span>` : nothing}
      ${p.pending ? html`<strong data-tone="warn">${word('pending', p.pending)}</strong>` : nothing}
      <span class="state-more">${file ?? (p.recording ? t('recorder.to_file', { file: p.recording }) : nothing)}</span></div>
  </div>`;
}

/** Counts on between two reports, but only while the value is the present one. */
export function elapsed(entry, fresh) {
  return entry.payload.elapsed_s + (fresh.stale || entry.payload.status === 'offline' ? 0 : fresh.age_s);
}

export function recorder_level(p, fresh) {
  const threshold = p.threshold_db ?? null;
  const reading = { level: p.level_db, threshold, peak: p.peak_db ?? null, stale: fresh.stale };
  return html`<div class="level">
    <level-meter role="img" aria-label=${t('recorder.meter', { level: decibel(p.level_db), threshold: decibel(threshold) })} .reading=${reading}></level-meter>
    <div class="level-words">
      <span>${t('recorder.level')} ${value(decibel(p.level_db), { fresh, show_age: false })}</span>
      <span>${t('recorder.threshold')} <span class="num">${decibel(threshold)}</span></span>
      <span>${t('recorder.peak')} <span class="num">${decibel(p.peak_db ?? null)}</span></span>
      ${p.clipped ? chip('alert', 'MAJOR', { text: t('recorder.clipped') }) : nothing}
    </div></div>`;
}

/** `more` are further buttons in the row of start and split. */
export function recorder_actions(app, id, entry, fresh, more = []) {
  const p = entry.payload;
  const target = `recorder/${id}`;
  const can = actions_of(p.status, p.allowed_actions);
  const order = (action) => ({ target, action, path: `api/recorders/${encodeURIComponent(id)}/${action}`, effect: EFFECT[action] });
  const blocked = (action) => (can.includes(action) ? null : t('action.not_now', { state: word('recorder', p.status) }));
  const name = p.name || id;
  const stop = { title: t('stop.title', { name }), loss: t('stop.loss', { elapsed: duration(elapsed(entry, fresh)) }), action: t('stop.confirm') };
  const [start_order, split_order, stop_order] = ['start', 'split', 'stop'].map(order);
  return html`<div class="actions">
      ${command_button(app, { order: start_order, label: t('action.start'), shape: 'play', primary: !is_recording(p.status), blocked: blocked('start'), name })}
      ${command_button(app, { order: split_order, label: t('action.split'), shape: 'scissors', blocked: blocked('split'), name })}
      ${more.map(({ button }) => button)}
    </div>
    <div class="actions apart">
      ${command_button(app, { order: stop_order, label: t('action.stop'), shape: 'square', blocked: blocked('stop'), destructive: stop, name })}
    </div>
    <div class="notes">${[start_order, split_order, stop_order, ...more.map((m) => m.order)].map((o) => command_note(app, { order: o }))}</div>`;
}
