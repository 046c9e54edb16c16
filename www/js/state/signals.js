// Sampled signals: `signal_status`. Their batches are the business of the signals page.

import { keyed_slice, ranked } from './keyed.js';

export const signals = keyed_slice('signals', 'signal_status', 'signal_id');

/** By id: they never change places. */
export const shown_signals = (map) => ranked(map, () => 0);
