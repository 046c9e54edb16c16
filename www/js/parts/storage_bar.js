// What fills the disk of the recordings, how long they are kept, and whether clearing out is held up.

import { html, nothing, svg } from '../../vendor/lit-html/lit-html.js';
import { bytes, count, percent, span } from '../core/format.js';
import { t } from '../core/i18n.js';
import { storage_parts } from '../state/recordings.js';
import { card } from './card.js';
import { command_button, command_note } from './command_button.js';
import { icon } from './icon.js';

/** `cleared` is called when what was held has gone. */
export function storage_card(app, summary, cleared) {
  const storage = storage_parts(summary);
  const number_of = (name) => (name === 'recordings' ? (summary.count ?? 0) - (summary.pinned?.count ?? 0) : summary[name]?.count);
  return card('storage', {
    title: t('storage.title'),
    summary: storage ? t('storage.free_of', { free: bytes(storage.parts.at(-1).bytes), total: bytes(storage.total) }) : null,
    body: () => html`
      ${storage ? html`${bar(storage)}
      <dl class="storage-parts">${storage.parts.map((part) => html`<div><dt><span class="swatch" data-part=${part.name} aria-hidden="true"></span>${t(`storage.${part.name}`)}</dt>
        <dd class="num">${bytes(part.bytes)}${typeof number_of(part.name) === 'number' ? html` <span class="muted">(${count(number_of(part.name))})</span>` : nothing}</dd></div>`)}</dl>`
      : html`<p class="muted">${t('storage.unknown')}</p>`}
      ${summary.purge_held ? held(app, summary.purge_held, cleared) : nothing}
      <p class="hint">${retention(summary.retention)}</p>
      ${summary.folder ? html`<p class="hint">${t('storage.folder')} <code>${summary.folder}</code></p>` : nothing}`,
  });
}

/** One bar, told as a sentence; the figures stand below it. */
function bar({ parts }) {
  const total = parts.reduce((sum, part) => sum + part.bytes, 0) || 1;
  let at = 0;
  const pieces = parts.map((part) => {
    const piece = { ...part, x: (at / total) * 100, width: (part.bytes / total) * 100 };
    at += part.bytes;
    return piece;
  });
  return html`<svg class="storage-bar" role="img" aria-label=${parts.map((p) => `${t(`storage.${p.name}`)} ${percent(p.bytes / total)}`).join(', ')}>${
    pieces.map((p) => svg`<rect data-part=${p.name} x=${`${p.x}%`} width=${`${p.width}%`} y="0" height="100%"></rect>`)}</svg>`;
}

/** Retention wanted to take so much that it waits for a person: what, why, and the way to let it. */
function held(app, reason, cleared) {
  const order = { target: 'recordings', action: 'purge_held', path: 'api/recordings/purge', body: { confirm: true }, done: cleared };
  return html`<div class="held" data-purge-held><p class="note" data-tone="warn">${icon('triangle-alert')}<span>${t('storage.held', { reason })}</span></p>
    <p class="hint">${t('storage.held_hint')}</p>
    <div class="actions apart">${command_button(app, { order, label: t('action.purge_held'), shape: 'trash-2', destructive: { title: t('storage.held_title'), loss: t('storage.held_loss', { reason }), action: t('action.purge_held') } })}</div>
    ${command_note(app, { order })}</div>`;
}

/** What is configured, in words; each rule is a sentence of its own. */
function retention(rules) {
  const r = rules ?? {};
  const said = [
    typeof r.keep_age_s === 'number' ? t('storage.rule.age', { span: span(r.keep_age_s) }) : null,
    typeof r.keep_bytes === 'number' ? t('storage.rule.size', { size: bytes(r.keep_bytes) }) : null,
    r.free_floor && !/^0( |%|B|$)/.test(r.free_floor) ? t('storage.rule.floor', { floor: r.free_floor }) : null,
  ].filter(Boolean);
  const bin = typeof r.bin_age_s === 'number' ? t('storage.rule.bin', { span: span(r.bin_age_s) }) : null;
  return [...(said.length ? [...said, t('storage.rule.pinned')] : [t('storage.no_rules')]), ...(bin ? [bin] : [])].join(' ');
}
