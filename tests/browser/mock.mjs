// A stand-in for the daemon while there is none: the page's side of the wire, in memory, with a small bench.
//   node tests/browser/mock.mjs [port]

import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const WWW = fileURLToPath(new URL('../../www/', import.meta.url));
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.txt': 'text/plain; charset=utf-8' };
const CSP = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";
const IDS = { recorder_status: 'recorder_id', job_status: 'job_id', instrument_status: 'instrument_id', queue_status: 'queue_id', scan_status: 'scan_id', signal_status: 'signal_id', stream_value: 'stream_id', stream_status: 'stream_id', detection_summary: '', service_status: 'name', source_status: 'source_id', system_health: '', alert: 'alert_id' };
const TOPIC = { recorder_status: 'recorder', job_status: 'job', instrument_status: 'instrument', queue_status: 'queue', scan_status: 'scan', signal_status: 'signal', stream_value: 'stream', stream_status: 'stream' };
const FIXED = { detection_summary: 'detections', detection: 'detections', service_status: 'services', source_status: 'system', system_health: 'system', alert: 'alerts' };
const QUIET = ['stream_value', 'detection'];

let epoch = 41;
let seq = 0;
const log = [];
const state = new Map();
const readers = new Set();
const iso = (ms = Date.now()) => new Date(ms).toISOString();

function publish(type, payload, topic) {
  const field = IDS[type];
  const at = topic ?? FIXED[type] ?? `${TOPIC[type]}/${payload[field]}`;
  const envelope = { type, id: `${epoch}-${seq += 1}`, topic: at, timestamp: iso(), payload };
  const key = field === undefined ? null : `${type}/${field && payload[field]}`;
  if (key && type === 'alert' && payload.state === 'closed') state.delete(key);
  else if (key) state.set(key, envelope);
  const event = { envelope, key, seq, global: !QUIET.includes(type) && !at.startsWith('app/') };
  log.push(event);
  if (log.length > 5000) log.shift();
  for (const r of readers) if (wants(r.topics, event)) r.res.write(frame(type, envelope, envelope.id));
  return envelope.id;
}
const wants = (topics, { envelope, global }) => topics.some((t) => (t === 'global' ? global : t.endsWith('/*') ? envelope.topic.startsWith(t.slice(0, -1)) : t === envelope.topic));
const frame = (type, data, id) => `${id ? `id: ${id}\n` : ''}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
const snapshot = (topics) => ({ cursor: `${epoch}-${seq}`, last: true, state: [...state.values()].filter((envelope) => wants(topics, { envelope, global: !QUIET.includes(envelope.type) })) });
const hello = (topics, resumed) => ({ epoch, server: 'telltale', version: '0.1.0', now: iso(), clock: 'synced', heartbeat_s: Number(process.env.HEARTBEAT ?? 5), head: `${epoch}-${seq}`, oldest: `${epoch}-1`, resumed, role: 'admin', topics });
const after = (cursor, topics) => log.filter((e) => e.seq > Number(cursor.split('-')[1]) && wants(topics, e) && (!e.key || state.get(e.key) === e.envelope));

function events(req, res, url) {
  const q = url.searchParams;
  const topics = (q.get('topics') ?? 'global').split(',');
  const cursor = q.get('last_event_id') ?? q.get('since');
  const known = cursor && cursor !== 'latest' && Number(cursor.split('-')[0]) === epoch;
  if (q.get('format') === 'json') {
    const list = [];
    if (!known && cursor !== 'latest' || q.get('state')) list.push({ type: 'snapshot', id: `${epoch}-${seq}`, payload: snapshot(topics) });
    if (known) list.push(...after(cursor, topics).map((e) => e.envelope));
    return json(res, 200, { events: list, cursor: `${epoch}-${seq}`, more: false, gap: null });
  }
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  res.write(`retry: 2000\n${frame('hello', { payload: hello(topics, Boolean(known)) }, `${epoch}-${seq}`)}`);
  if (!known || q.get('state')) res.write(frame('snapshot', { payload: snapshot(topics) }, `${epoch}-${seq}`));
  if (known) for (const e of after(cursor, topics)) res.write(frame(e.envelope.type, e.envelope, e.envelope.id));
  const reader = { res, topics };
  readers.add(reader);
  res.on('close', () => readers.delete(reader));
}
setInterval(() => { for (const r of readers) r.res.write(frame('heartbeat', { payload: { now: iso(), head: `${epoch}-${seq}` } }, `${epoch}-${seq}`)); }, 1000 * Number(process.env.HEARTBEAT ?? 5));

function json(res, status, body) {
  res.writeHead(status, { 'content-type': status < 400 ? 'application/json' : 'application/problem+json', 'cache-control': 'no-store' });
  res.end(JSON.stringify(body));
}

const commands = new Map();
function command(target, action, id, effect, reason) {
  const answer = { command_id: id, action, target, state: 'accepted', status: null, pending: action };
  commands.set(id, answer);
  setTimeout(() => {
    if (reason === null) return;
    if (reason === undefined) effect();
    publish('command_result', { command_id: id, action, target, state: reason === undefined ? 'completed' : 'rejected', status: null, latency_ms: 700, reason: reason ?? null }, target);
  }, 700);
  return answer;
}

export function serve(port = 0) {
  bench();
  const server = createServer((req, res) => {
    const url = new URL(req.url, 'http://x');
    let body = '';
    req.on('data', (d) => { body += d; });
    req.on('end', () => route(req, res, url, body)).resume();
  });
  return new Promise((ok) => server.listen(port, '127.0.0.1', () => ok(server)));
}

function route(req, res, url, body) {
  const path = url.pathname;
  const input = body && req.headers['content-type']?.includes('json') ? JSON.parse(body) : {};
  let m;
  if (path === '/api/events' && req.method === 'GET') return events(req, res, url);
  if (path === '/api/events') return json(res, 202, { accepted: 1, cursor: publish(input.type, input.payload, input.topic) });
  if (path === '/api/state') return json(res, 200, snapshot(['global', 'stream/*']));
  if (path === '/api/telemetry' || path === '/api/log' + 'out') return json(res, 202, {});
  if (path === '/api/login') return input.key === 'good' ? json(res, 200, { role: 'operate' }) : json(res, 401, { type: 'key', title: 'unknown key', status: 401, detail: 'this key is not known' });
  if ((m = path.match(/^\/api\/recorders\/([^/]+)\/(\w+)$/))) return json(res, 202, command(`recorder/${m[1]}`, m[2], input.command_id, () => act(m[2])));
  if ((m = path.match(/^\/api\/alerts\/([^/]+)\/ack$/))) {
    return json(res, 202, command(`alert/${m[1]}`, 'ack', input.command_id, () => {
      const a = state.get(`alert/${m[1]}`)?.payload;
      if (a) publish('alert', { ...a, state: 'acknowledged', acked_at: iso(), acked_by: 'technician' });
    }));
  }
  const file = normalize(path === '/' ? '/index.html' : path);
  try {
    const bytes = readFileSync(join(WWW, file));
    res.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream', 'content-security-policy': CSP, 'cache-control': 'no-cache' });
    res.end(bytes);
  } catch {
    json(res, 404, { type: 'unknown', title: 'unknown', status: 404, detail: `nothing at ${path}` });
  }
}

// ---- a bench ----
let rec = 'armed';
let began = 0;
const act = (action) => { if (action === 'start') { rec = 'recording'; began = Date.now(); } else if (action === 'stop') rec = 'armed'; else began = Date.now(); };
function bench() {
  const t0 = Date.now();
  const s = () => (Date.now() - t0) / 1000;
  setInterval(() => publish('recorder_status', { recorder_id: 'rec1', name: 'Field recorder', status: rec, timestamp: iso(), mode: 'auto', level_db: -38 + 14 * Math.sin(s() / 2), threshold_db: -36.5, peak_db: -21.2, clipped: false, triggers: rec === 'recording' ? ['level', 'motion'] : [], recording: rec === 'recording' ? 'rec1-20261121T051233-42' : undefined, elapsed_s: rec === 'recording' ? (Date.now() - began) / 1000 : undefined, bytes: 5_300_000, last_stop: { reason: 'no sound for 4 s', at: iso(t0) }, free_s: 128_000 }), 200);
  setInterval(() => {
    publish('stream_value', { stream_id: 'grid_hz', value: 50 + 0.04 * Math.sin(s()) + 0.01 * Math.random(), unit: 'Hz', timestamp: iso(), quality: 'good', change: 0.003 * (Math.random() - 0.5), severity: 'NO_ALARM' });
    publish('stream_value', { stream_id: 'tank_level', value: 22.4 + Math.sin(s() / 9), unit: '%', timestamp: iso(), quality: 'good', change: -0.1, severity: 'MINOR' });
  }, 400);
  publish('stream_status', { stream_id: 'grid_hz', name: 'Mains frequency', status: 'live' });
  publish('stream_status', { stream_id: 'tank_level', name: 'Water tank', status: 'live' });
  publish('stream_status', { stream_id: 'price', name: 'Spot price', status: 'offline', reason: 'connection refused' });
  publish('alert', { alert_id: 'tank_level.low', occurrence: 2, severity: 'MINOR', state: 'active', message: 'Water tank below 25 %', raised_at: iso(t0 - 90_000), value: 22.4, limit: 25, unit: '%', guidance: 'Open valve V2 or order a refill.' });
  publish('alert', { alert_id: 'stage.link', occurrence: 1, severity: 'MAJOR', state: 'active', message: 'Stage controller does not answer', raised_at: iso(t0 - 20_000) });
  publish('source_status', { source_id: 'stage', kind: 'serial', status: 'stale', quality: 'bad', last_seen: iso(t0 - 20_000), errors: 3, reconnects: 1, last_error: 'no answer to POS? within 2 s' });
  for (const id of ['rec1', 'psu', 'camera', 'host']) publish('source_status', { source_id: id, kind: 'simulated', status: 'ok', quality: 'good', last_seen: iso() });
  const tick = () => {
    const at = iso();
    publish('instrument_status', { instrument_id: 'psu', instrument_name: 'Power supply', status: 'measuring', timestamp: at, used_by: 'scan/SCAN_004', channels: { voltage: { value: 12.003 + 0.002 * Math.random(), unit: 'V', quality: 'good', last_updated: at, last_changed: at, timeout_s: 5, target: 12 }, current: { value: 0.8412, unit: 'A', quality: 'good', last_updated: at, last_changed: at, timeout_s: 5 } } });
    publish('instrument_status', { instrument_id: 'stage', instrument_name: 'XY stage', status: 'error', timestamp: at, error: 'no answer to POS? within 2 s', channels: { x: { value: 12.5, unit: 'mm', target: 20, quality: 'uncertain', quality_reason: 'stale', last_updated: iso(t0 - 20_000), timeout_s: 5 } } });
    publish('instrument_status', { instrument_id: 'dmm', instrument_name: 'Multimeter', status: 'idle', timestamp: at, channels: { reading: { value: 1.24e-7, unit: 'A', quality: 'good', last_updated: at, timeout_s: 5 } } });
    publish('queue_status', { queue_id: 'QUEUE_001', name: 'Overnight sweep', status: 'running', current_scan: 'SCAN_004', completed_scans: 3, total_scans: 10, order_version: 1, timestamp: at, progress: 0.36, eta_s: 2150 });
    publish('queue_status', { queue_id: 'QUEUE_002', name: 'Calibration', status: 'paused', current_scan: null, completed_scans: 1, total_scans: 4, order_version: 1, timestamp: at, failed_scans: 1, pause_reason: 'a scan failed' });
    publish('scan_status', { scan_id: 'SCAN_004', name: 'I-V curve, sample 7', status: 'running', pending: null, progress: (s() / 60) % 1, allowed_actions: [], revision: 3, timestamp: at, queue_id: 'QUEUE_001', points_done: Math.floor(s() * 4), points_total: 240, message: 'settling at 0.45 V', eta_s: 61 });
    publish('job_status', { job_id: 'j1', kind: 'encode', status: 'running', progress: (s() / 20) % 1, source: 'rec1-20261121T051102-38', eta_s: 12 });
    publish('system_health', { uptime_s: 93_784 + s(), cpu: 0.23 + 0.1 * Math.random(), memory: { total: 1e9, available: 6.1e8 }, temperature_c: 51.4, disks: [{ path: '/', total: 32e9, free: 11.2e9 }], clock: 'synced', store: { written_today: 48_000_000 } });
    for (const [id, name] of [['sine', 'Sine 1 Hz'], ['noise', 'Noise'], ['pulse', 'Pulse train']]) publish('signal_status', { signal_id: id, name, live: id !== 'pulse', interval_s: 2, batch_size: 100, seed: 1, total_events: Math.floor(s() * 50), stats: { mean: 0.0123, std: 1.02, min: -3, max: 3 }, anomalies: 4 });
    publish('detection_summary', { total: 1284, unique_skus: 12, unique_labels: 9, mean_confidence: 0.872, discrepancies: [{}], updated: at });
  };
  tick();
  setInterval(tick, 1000);
  publish('job_status', { job_id: 'j0', kind: 'waveform', status: 'completed', progress: 1, source: 'rec1-20261121T051102-37' });
  publish('job_status', { job_id: 'j2', kind: 'ingest', status: 'queued', progress: null, source: 'drop/meeting.wav' });
  setInterval(() => publish('detection', { detection_id: `d${seq}`, label: ['cola 0.5 l', 'water 1 l', 'oat bar'][seq % 3], confidence: 0.7 + 0.3 * Math.random(), timestamp: iso(), location: 'A3' }), 1500);
  publish('service_status', { name: 'recorder', status: 'active', since: iso(t0 - 8e7), description: 'Audio recorder', restarts: 0 });
  publish('service_status', { name: 'vision', status: 'failed', since: iso(t0 - 8e5), description: 'Shelf camera', restarts: 3 });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = await serve(Number(process.argv[2] ?? 8099));
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
}
