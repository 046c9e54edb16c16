// Sampled signals: `signal_status`. Their batches are the business of the signals page.

import { LIMIT_S } from './freshness.js';
import { keyed_slice, ranked } from './keyed.js';

export const signals = keyed_slice('signals', 'signal_status', 'signal_id');

/** Seconds after which its state is old: one that is live has missed some batches by then, one that is paused says nothing. */
export const limit_s = (payload) => (payload.live ? Math.max(LIMIT_S.stream, 3 * (payload.interval_s ?? 0)) : undefined);

/** By id: they never change places. */
export const shown_signals = (map) => ranked(map, () => 0);
