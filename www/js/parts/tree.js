// Settings and descriptions as a tree that folds: names and values of any depth, as text.

import { html, nothing } from '../../vendor/lit-html/lit-html.js';

/** Deeper than this, and longer than that, is shown as JSON. */
const DEEP = 6;
const LONG = 100;

/** `value` is any JSON; its first level is open. */
export function tree(value, depth = 0) {
  if (value === null || typeof value !== 'object') return html`<code class="leaf">${value === null ? '–' : String(value)}</code>`;
  const entries = Object.entries(value);
  if (!entries.length) return html`<code class="leaf">${Array.isArray(value) ? '[]' : '{}'}</code>`;
  if (depth >= DEEP) return html`<code class="leaf">${JSON.stringify(value).slice(0, 1_000)}</code>`;
  return html`<ul class="tree">${entries.slice(0, LONG).map(([name, inner]) => {
    const folds = inner !== null && typeof inner === 'object' && Object.keys(inner).length > 0;
    const label = Array.isArray(value) ? `${Number(name) + 1}` : name;
    return folds ? html`<li><details ?open=${depth === 0}><summary><span class="tree-name">${label}</span> <span class="muted num">${Array.isArray(inner) ? `[${inner.length}]` : nothing}</span></summary>${tree(inner, depth + 1)}</details></li>`
      : html`<li class="tree-leaf"><span class="tree-name">${label}</span> ${tree(inner, depth + 1)}</li>`;
  })}${entries.length > LONG ? html`<li class="muted">+${entries.length - LONG}</li>` : nothing}</ul>`;
}
