// What fills the disk of the recordings, how long they are kept, and whether clearing out is held up.

import { html, nothing, svg } from '../../vendor/lit-html/lit-html.js';
import { bytes, count, percent } from '../core/format.js';
import { t } from '../core/i18n.js';
import { storage_parts } from '../state/recordings.js';
import { card } from './card.js';
import { icon } from './icon.js';

export function storage_card(summary) {
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
      ${summary.purge_held ? html`<p class="note" data-tone="warn" data-purge-held>${icon('triangle-alert')}<span>${t('storage.held', { reason: summary.purge_held })}</span></p>` : nothing}
      <p class="hint">${retention(summary.retention)}</p>
      ${summary.folder ? html`<p class="hint">${t('storage.folder')} <code>${summary.folder}</code></p>` : nothing}`,
  });
}

/** One bar, told as a sentence; the figures stand below it. */
function bar({ total, parts }) {
  let at = 0;
  const pieces = parts.map((part) => {
    const piece = { ...part, x: (at / total) * 100, width: (part.bytes / total) * 100 };
    at += part.bytes;
    return piece;
  });
  return html`<svg class="storage-bar" role="img" aria-label=${parts.map((p) => `${t(`storage.${p.name}`)} ${percent(p.bytes / total)}`).join(', ')}>${
    pieces.map((p) => svg`<rect data-part=${p.name} x=${`${p.x}%`} width=${`${p.width}%`} y="0" height="100%"></rect>`)}</svg>`;
}

/** What is configured, in words; each rule is a sentence. */
function retention(rules = {}) {
  const said = Object.entries(rules ?? {}).filter(([, v]) => v !== null && v !== undefined && v !== false && v !== '').map(([name, value]) => {
    const text = typeof value === 'number' && /bytes|size|free/.test(name) ? bytes(value) : String(value);
    return `${name.replaceAll('_', ' ')}: ${text}`;
  });
  return said.length ? `${t('storage.rules')} ${said.join('; ')}.` : t('storage.no_rules');
}
