// The event types of the wire: which are state (the newest of each key counts) and what their key is. The table of
// docs/api.md as far as the page needs it.

/** type -> payload field whose value is the id; '' for types with one key in all. */
export const STATE = {
  recorder_status: 'recorder_id',
  job_status: 'job_id',
  instrument_status: 'instrument_id',
  queue_status: 'queue_id',
  scan_status: 'scan_id',
  signal_status: 'signal_id',
  stream_value: 'stream_id',
  stream_status: 'stream_id',
  detection_summary: '',
  service_status: 'name',
  source_status: 'source_id',
  system_health: '',
  config_changed: '',
};

/** Kept one by one. Alerts are records that are part of the state while open. */
export const RECORDS = [
  'recording_changed', 'data_point', 'data_batch', 'queue_log', 'log', 'signal_batch', 'detection', 'alert', 'command_result',
];

/** About the connection itself. */
export const CONTROL = ['hello', 'heartbeat', 'snapshot', 'gap', 'bye'];

/** The state key of an envelope, or null for a record. */
export function state_key(envelope) {
  const field = envelope.type === 'alert' ? 'alert_id' : STATE[envelope.type];
  if (field === undefined) return null;
  return field === '' ? envelope.type : `${envelope.type}/${envelope.payload?.[field]}`;
}

export { is_after, parse_id } from '../state/ids.js';
