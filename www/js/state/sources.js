// Sources, whatever feeds the daemon: `source_status`. Pure.

import { keyed_slice, ranked } from './keyed.js';

export const sources = keyed_slice('sources', 'source_status', 'source_id');

const TROUBLE = ['error', 'stale', 'absent'];

/** Those a person should look at; a source that is only starting or switched off is none. */
export function troubled_sources(map) {
  const found = new Map([...map].filter(([, e]) => TROUBLE.includes(e.payload.status)));
  return ranked(found, (e) => TROUBLE.indexOf(e.payload.status));
}

/** All, those with trouble first. */
export const shown_sources = (map) => ranked(map, (e) => (TROUBLE.includes(e.payload.status) ? 0 : 1));
