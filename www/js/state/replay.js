// The playback of an ended scan: the events it once had, told again. A step of the present
// playback per event; its rows are written into in place.

import { Rows, rows_of } from './rows.js';

export const RATES = [1, 2, 5, 10, 50, 100];

/** `stage`: opening, playing, paused, finished, failed. */
export const begin = (rate) => ({ stage: 'opening', rate, total: null, started: null, status: null, rows: new Rows(), last: null, reason: null, measurement: null });

/** What an event of the playback makes of it. */
export function told(it, { type, payload = {} }) {
  switch (type) {
    case 'playback': return { ...it, stage: 'playing', total: payload.points_total ?? it.total, started: payload.start_time ?? it.started, rate: payload.rate ?? it.rate };
    case 'scan_status': return { ...it, status: payload };
    case 'data_point': case 'data_batch': {
      if (it.measurement !== null && payload.measurement !== it.measurement) return it;
      for (const row of rows_of(payload)) it.rows.take(row, { anyway: true });
      return { ...it, last: it.rows.last };
    }
    case 'bye': return { ...it, stage: 'finished' };
    default: return it;
  }
}

/** 0..1 of the points, or null. */
export const share = ({ total, last }) => (total > 0 ? Math.min(1, (last === null ? 0 : last + 1) / total) : null);
