// Asks the daemon for recordings: the list in pages, the one that is open with its waveform, and what is done to many
// at once. What was asked last counts; an answer that comes after a newer question is dropped.

import { ApiError, read, request } from './api.js';
import { PAGE, apply_change, begin_list, changed, filter_query, take_counts, take_page } from '../state/recordings.js';

/** After a change the counts are asked for again, at most this often. */
const COUNTS_MS = 4_000;
/** A waveform that grows or is being computed is asked for this often. */
const WAVEFORM_MS = 3_000;
/** A part is asked for when the view has come to rest. */
const PART_MS = 150;
const POINTS = { least: 256, most: 8_192 };
/** Numbers in steps, so that a turned screen does not ask anew for little. */
const points_for = (pixels) => 2 ** Math.ceil(Math.log2(Math.min(POINTS.most, Math.max(POINTS.least, pixels))));

export const path_of = (id, rest = '') => `api/recordings/${encodeURIComponent(id)}${rest}`;

/** The sentence of a failure: the daemon's own, or what became of the request. */
export const reason_of = (error) => (error instanceof ApiError ? { code: error.status ? 'said' : error.code, type: error.code, text: error.message, status: error.status } : { code: 'fault', type: '', text: String(error.message ?? error), status: 0 });

/** The list: `list` is what state/recordings.js makes of it. */
export class RecordingList {
  constructor({ changed }) {
    this.changed = changed;
    this.list = begin_list();
    this.turn = 0;
    this.before = [];
    this.cursor = null;
    this.busy = false;
    this.counting = null;
  }

  /** The number of the first row shown, from 1. */
  get first() {
    return this.before.length * PAGE + 1;
  }

  /** From the first page, by this filter. */
  open(filter) {
    this.filter = filter;
    this.before = [];
    this.cursor = null;
    return this.obtain();
  }

  /** The same page again. */
  again() {
    return this.obtain();
  }

  next() {
    if (!this.list.next || this.busy) return undefined;
    this.before.push(this.cursor);
    this.cursor = this.list.next;
    return this.obtain();
  }

  previous() {
    if (!this.before.length || this.busy) return undefined;
    this.cursor = this.before.pop();
    return this.obtain();
  }

  /** Back to the first page, with what is new. */
  newest() {
    return this.open(this.filter);
  }

  async obtain() {
    const turn = (this.turn += 1);
    this.busy = true;
    this.changed();
    try {
      const { body } = await read('api/recordings', { query: { ...filter_query(this.filter), limit: PAGE, cursor: this.cursor } });
      if (turn !== this.turn) return;
      this.list = take_page(this.list, body ?? {});
    } catch (error) {
      if (turn !== this.turn) return;
      this.list = { ...this.list, status: 'error', error: reason_of(error) };
    }
    this.busy = false;
    this.changed();
  }

  /** Takes a `recording_changed`. */
  take(payload) {
    this.list = apply_change(this.list, this.filter, payload);
    if (payload.change !== 'growing') this.count_soon();
    this.changed();
  }

  /** Something may have happened that was not heard of. */
  missed() {
    if (this.list.status === 'error') this.again();
    else this.list = { ...this.list, missed: true };
    this.changed();
  }

  count_soon() {
    this.counting ??= setTimeout(async () => {
      this.counting = null;
      const turn = this.turn;
      try {
        const { body } = await read('api/recordings', { query: { ...filter_query(this.filter), limit: 1 } });
        if (turn !== this.turn || this.list.status !== 'ready') return;
        this.list = take_counts(this.list, body ?? {});
        this.changed();
      } catch {
        // The counts stay as they are; the next change asks again.
      }
    }, COUNTS_MS);
  }

  close() {
    this.turn += 1;
    clearTimeout(this.counting);
  }
}

/** The recording that is open, and its waveform: {status: 'loading'|'pending'|'ready'|'none'|'error', data, progress, error}. */
export class OpenRecording {
  /** `pixels` is about how wide the waveform will be. */
  constructor({ id, known, pixels, changed, grown }) {
    this.id = id;
    this.recording = known ?? null;
    this.changed = changed;
    this.grown = grown;
    this.status = known ? 'ready' : 'loading';
    this.error = null;
    this.wave = { status: 'loading', data: null, progress: null, error: null };
    this.points = points_for(pixels);
    this.over = new AbortController();
    this.part = null;
    this.asking = false;
    this.asked_at = -Infinity;
    this.timer = setInterval(() => this.look_again(), 500);
    this.load();
  }

  close() {
    this.over.abort();
    clearTimeout(this.parting);
    clearInterval(this.timer);
  }

  async load() {
    if (!this.recording) this.status = 'loading';
    try {
      const { body } = await read(path_of(this.id), { signal: this.over.signal });
      this.take({ change: 'read', recording: body });
      this.status = 'ready';
      this.error = null;
      this.load_wave();
    } catch (error) {
      if (this.over.signal.aborted) return;
      this.error = reason_of(error);
      this.status = this.error.status === 404 ? 'unknown' : this.recording ? 'ready' : 'error';
    }
    this.changed();
  }

  /** Takes a change of this recording. */
  take(payload) {
    const before = this.recording;
    this.recording = changed(before ?? {}, payload);
    const { growing, duration_s } = this.recording;
    this.grown({ growing: Boolean(growing), duration_s });
    // It ended, or its file is another: the waveform of before is not the whole one.
    if (before?.growing && !growing) this.asked_at = -Infinity;
    if (payload.change === 'waveform' && !growing) this.asked_at = -Infinity;
    if (payload.change !== 'read') this.look_again();
    this.changed();
  }

  /** The canvas is this many pixels wide and shows this part; where the whole has too few points, the part is asked for. */
  want(pixels, { from_s, to_s }) {
    const length = this.wave.data?.duration_s ?? this.recording?.duration_s ?? 0;
    const share = length > 0 ? (to_s - from_s) / length : 1;
    const whole = points_for(pixels);
    if (whole > this.points) {
      this.points = whole;
      if (this.wave.status === 'ready') this.load_wave();
    }
    if (share > 0.999 || this.points * share >= pixels || this.wave.status !== 'ready') return;
    const key = `${from_s}/${to_s}/${whole}`;
    if (this.part === key) return;
    this.part = key;
    clearTimeout(this.parting);
    this.parting = setTimeout(() => this.load_part(key, { from_s, until_s: to_s, points: whole }), PART_MS);
  }

  async load_part(key, query) {
    try {
      const { status, body } = await read(path_of(this.id, '/waveform'), { query, signal: this.over.signal });
      if (this.part !== key || status !== 200 || typeof body?.from_s !== 'number') return;
      this.wave = { ...this.wave, detail: body };
      this.changed();
    } catch {
      // The whole is drawn instead, only coarser.
    }
  }

  look_again() {
    if (document.visibilityState === 'hidden' || this.status !== 'ready') return;
    const { wave, recording } = this;
    const unfinished = recording.growing || wave.status === 'pending' || wave.data?.growing || (wave.status === 'ready' && wave.data?.complete === false);
    if (unfinished && performance.now() - this.asked_at >= WAVEFORM_MS) this.load_wave();
  }

  async load_wave() {
    const { recording } = this;
    if (this.asking || !recording || recording.gone) return;
    this.asking = true;
    this.asked_at = performance.now();
    const points = this.points;
    try {
      const { status, body } = await read(path_of(this.id, '/waveform'), { query: { points }, signal: this.over.signal });
      this.wave = status === 202 || body?.pending
        ? { ...this.wave, status: this.wave.data ? 'ready' : 'pending', progress: body?.progress ?? null, error: null }
        : { ...this.wave, status: 'ready', data: body, progress: null, error: null };
      if (body?.growing) this.part = null;
      if (this.wave.data) this.grown({ growing: Boolean(this.recording.growing), duration_s: this.wave.data.duration_s });
    } catch (error) {
      if (this.over.signal.aborted) return;
      const why = reason_of(error);
      // What was drawn stays; a later look may work.
      this.wave = this.wave.data ? { ...this.wave, error: why } : { ...this.wave, status: why.status >= 400 && why.status < 500 ? 'none' : 'error', error: why };
    } finally {
      this.asking = false;
    }
    if (this.points > points && this.wave.status === 'ready') this.load_wave();
    this.changed();
  }

  again() {
    this.wave = { ...this.wave, status: this.wave.data ? 'ready' : 'loading', error: null };
    this.changed();
    return this.recording ? this.load_wave() : this.load();
  }
}

/** The same done to many, one after the other: {action, total, done, refused: [{id, reason}], running}. */
export class Many {
  constructor({ changed }) {
    this.changed = changed;
    this.state = null;
  }

  get running() {
    return Boolean(this.state?.running);
  }

  /** `send` is {method, body, query}. */
  async run(action, ids, send) {
    if (this.running) return;
    this.state = { action, total: ids.length, done: 0, refused: [], running: true };
    this.changed();
    for (const id of ids) {
      try {
        await request(send.method, path_of(id, send.query), send.body);
        this.state = { ...this.state, done: this.state.done + 1 };
      } catch (error) {
        this.state = { ...this.state, refused: [...this.state.refused, { id, reason: reason_of(error) }] };
        // Nothing gets through: the others would only wait as long.
        if (!reason_of(error).status) break;
      }
      this.changed();
    }
    this.state = { ...this.state, running: false };
    this.changed();
  }

  dismiss() {
    this.state = null;
    this.changed();
  }
}
