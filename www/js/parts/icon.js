// One icon of the sprite. Decoration only: a word always stands beside it.

import { svg } from '../../vendor/lit-html/lit-html.js';
import { ROOT } from '../core/api.js';

const SPRITE = new URL('vendor/icons.svg', ROOT).href;

export const icon = (name) => svg`<svg class="icon" aria-hidden="true" focusable="false"><use href=${`${SPRITE}#${name}`}></use></svg>`;
