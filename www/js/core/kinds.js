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

/** `<epoch>-<seq>` -> [epoch, seq]; null for anything else. */
export function parse_id(text) {
  const parts = /^(\d{1,20})-(\d{1,20})$/.exec(text ?? '');
  return parts && [Number(parts[1]), Number(parts[2])];
}

/** Whether id `a` comes after id `b`; anything comes after nothing. */
export function is_after(a, b) {
  const [left, right] = [parse_id(a), parse_id(b)];
  if (!right) return true;
  if (!left) return false;
  return left[0] === right[0] ? left[1] > right[1] : left[0] > right[0];
}
