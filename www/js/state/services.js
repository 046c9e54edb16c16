// System services: `service_status`.

import { keyed_slice, ranked } from './keyed.js';

export const services = keyed_slice('services', 'service_status', 'name');

const RANK = { failed: 0, inactive: 1 };

/** Those with trouble first. */
export const shown_services = (map) => ranked(map, (e) => RANK[e.payload.status] ?? 2);
