// One icon of the sprite. Decoration only: a word always stands beside it.

import { svg } from '../../vendor/lit-html/lit-html.js';
import { read_text } from '../core/api.js';

/** `size` is a class of its own for icons that are not beside text. */
export const icon = (name, size = 'icon') => svg`<svg class=${size} aria-hidden="true" focusable="false"><use href=${`#${name}`}></use></svg>`;

/** Takes the sprite into the page: the icon for "offline" can't be fetched when it is needed. */
export async function load_icons() {
  const sprite = new DOMParser().parseFromString(await read_text('vendor/icons.svg'), 'image/svg+xml').documentElement;
  sprite.classList.add('visually-hidden');
  sprite.setAttribute('aria-hidden', 'true');
  document.body.append(document.importNode(sprite, true));
}
