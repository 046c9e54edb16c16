// The list of recordings, the recorder's course, waveforms and playback, without a browser.

import assert from 'node:assert/strict';
import test from 'node:test';
import * as format from '../../www/js/core/format.js';
import { Playback } from '../../www/js/core/playback.js';
import { job_counts } from '../../www/js/state/jobs.js';
import { LEVELS, actions_of, louder, recorders, recording_names } from '../../www/js/state/recorders.js';
import {
  NO_FILTER, PAGE, apply_change, begin_list, cleared, clip_fault, filter_text, live_recordings, matches, name_fault, narrowing, parse_filter, span_of, split_name, storage_parts, take_page,
} from '../../www/js/state/recordings.js';
import { columns_of, peak_of, ruler_step, wave_for, window_of } from '../../www/js/state/waveform.js';

const rec = (id, more = {}) => ({ recording_id: id, name: `${id}.wav`, extension: 'wav', growing: false, pinned: false, label: null, binned_at: null, triggers: [], started_at: '2026-01-07T15:30:00.000Z', duration_s: 10, ...more });
const list_of = (...items) => take_page(begin_list(), { items, total: items.length });
const filter = (text) => parse_filter(new URLSearchParams(text));

test('a filter goes into an address and comes back; what is not understood is left out', () => {
  const text = '?text=owl+%26+fox&min_s=1.5&pinned=true&sort=-size';
  assert.equal(filter_text(filter(text)), text);
  assert.equal(filter_text(NO_FILTER), '');
  assert.deepEqual(filter('day=today&sort=colour&min_s=-1&from=x&extension=../x&pinned=yes&limit=9'), { ...NO_FILTER });
  assert.equal(filter(`text=${'x'.repeat(300)}`).text, '');
  assert.equal(narrowing(filter('text=a&bin=true&sort=name')), 1);
  assert.deepEqual(cleared(filter('text=a&bin=true&sort=name')), { ...NO_FILTER, bin: true, sort: 'name' });
});

test('whether a recording belongs to a filter', () => {
  for (const [text, more, expected] of [
    ['', {}, true], ['bin=true', {}, false], ['bin=true', { binned_at: '2026-01-08T00:00:00Z' }, true], ['', { binned_at: '2026-01-08T00:00:00Z' }, false],
    ['pinned=true', {}, false], ['text=OWL', { label: 'an owl' }, true], ['text=owl', { transcript: 'owls' }, true], ['text=owl', {}, false],
    ['trigger=motion', { triggers: ['level'] }, false], ['min_s=11', {}, false], ['min_s=11', { duration_s: null }, true], ['max_s=9', {}, false],
    ['from=2026-01-07T16:00:00Z', {}, false], ['to=2026-01-07T16:00:00Z', {}, true], ['extension=opus', {}, false], ['day=2026-01-06', { day: '2026-01-07' }, false],
  ]) assert.equal(matches(filter(text), rec('a', more)), expected, `${text} ${JSON.stringify(more)}`);
});

test('changes reach their rows and no row moves; new ones are only counted', () => {
  const before = list_of(rec('b'), rec('a'));
  const change = (list, id, change, more = {}) => apply_change(list, NO_FILTER, { recording_id: id, change, recording: rec(id, more) });
  let list = change(before, 'c', 'added');
  assert.deepEqual([list.items.map((r) => r.recording_id), [...list.fresh]], [['b', 'a'], ['c']]);
  list = change(list, 'a', 'labelled', { label: 'x', started_at: '2027-01-01T00:00:00Z' });
  assert.deepEqual(list.items.map((r) => [r.recording_id, r.label]), [['b', null], ['a', 'x']]);
  list = change(list, 'b', 'binned', { binned_at: '2026-01-08T00:00:00Z' });
  assert.equal(list.items[0].binned_at, '2026-01-08T00:00:00Z');
  list = change(list, 'b', 'purged');
  assert.deepEqual([list.items.length, list.items[0].gone, list.items[0].name], [2, true, 'b.wav']);
  list = change(list, 'c', 'purged');
  assert.equal(list.fresh.size, 0, 'what came and went is not new');
  assert.equal(before.items[0].gone, undefined, 'what was given is as it was');
  assert.equal(change(before, 'd', 'pinned', { pinned: true }).fresh.size, 0, 'a change to one that is on another page is not new');
  assert.equal(take_page(list, { items: [rec('c')], total: 1 }).fresh.size, 0);
});

test('what is being recorded is known on every page, newest first, until it ends', () => {
  const grow = (list, id, started_at, growing = true) => apply_change(list, filter('text=nothing'), { recording_id: id, change: growing ? 'growing' : 'finished', recording: rec(id, { growing, started_at }) });
  let list = grow(grow(list_of(), 'a', '2026-01-07T15:00:00Z'), 'b', '2026-01-07T16:00:00Z');
  assert.deepEqual(live_recordings(list).map((r) => r.recording_id), ['b', 'a']);
  assert.equal(list.fresh.size, 0, 'it does not match');
  list = grow(list, 'b', '2026-01-07T16:00:00Z', false);
  assert.deepEqual(live_recordings(list).map((r) => r.recording_id), ['a']);
});

test('new ones are counted up to a bound', () => {
  let list = list_of();
  for (let i = 0; i < 3_000; i += 1) list = apply_change(list, NO_FILTER, { recording_id: `r${i}`, change: 'added', recording: rec(`r${i}`) });
  assert.ok(list.fresh.size < 1_000);
  assert.ok(PAGE <= 200);
});

test('from here to there, up or down', () => {
  const items = ['a', 'b', 'c', 'd'].map((id) => rec(id));
  assert.deepEqual(span_of(items, 'd', 'b'), ['b', 'c', 'd']);
  assert.deepEqual(span_of(items, 'a', 'a'), ['a']);
  assert.deepEqual(span_of(items, 'gone', 'b'), ['b']);
});

test('what fills the disk adds up, and nothing is less than nothing', () => {
  const parts = (summary) => Object.fromEntries(storage_parts(summary).parts.map((p) => [p.name, p.bytes]));
  assert.deepEqual(parts({ bytes: 300, pinned: { bytes: 100 }, bin: { bytes: 50 }, disk: { total: 1_000, used: 600, free: 350 } }), { recordings: 200, pinned: 100, bin: 50, other: 250, free: 350 });
  assert.deepEqual(parts({ bytes: 900, disk: { total: 1_000, used: 600, free: 400 } }), { recordings: 900, pinned: 0, bin: 0, other: 0, free: 400 });
  assert.equal(storage_parts({ disk: null }), null);
  assert.equal(storage_parts(null), null);
});

test('names and clips are checked before they are sent', () => {
  assert.deepEqual(['', '  ', 'x'.repeat(121), '.x', 'a/b', 'a\\b', 'a\u0000', 'Uhu, zwei Rufe', 'a.b'].map(name_fault), ['empty', 'empty', 'long', 'dot', 'character', 'character', 'character', null, null]);
  assert.deepEqual(split_name('take.1.WAV', 'wav'), ['take.1', '.WAV']);
  assert.deepEqual(split_name('take', 'wav'), ['take', '']);
  assert.deepEqual([[0, 5], [null, 5], [5, 5], [6, 5], [5, 11]].map(([start_s, end_s]) => clip_fault({ start_s, end_s }, 10)), [null, 'time', 'short', 'short', 'beyond']);
});

test('places in a recording, as they are written and typed', () => {
  assert.deepEqual([0, 12.44, 59.96, 3_723, null, -1].map(format.place), ['0:00.0', '0:12.4', '1:00.0', '1:02:03.0', '–', '0:00.0']);
  assert.deepEqual(['12', '1:23.4', '1:02:03', '12,5', 'soon', '', '1:2:3:4', '-3'].map(format.parse_place), [12, 83.4, 3_723, 12.5, null, null, null, null]);
  for (const s of [0, 7.3, 83.4, 3_723.9]) assert.equal(format.parse_place(format.place(s)), s);
});

// ---- waveforms ----

const wave = { min: [-1, -2, -3, -4].map((v) => v * 1_000), max: [1, 2, 3, 4].map((v) => v * 1_000), scale: 10_000, duration_s: 4 };

test('columns are the least and most of their points; where there is none, nothing', () => {
  assert.deepEqual(columns_of(wave, { from_s: 0, to_s: 4 }, 2), [[-0.2, 0.2], [-0.4, 0.4]]);
  assert.deepEqual(columns_of(wave, { from_s: 0, to_s: 4 }, 8).map((c) => c[1]), [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4]);
  assert.deepEqual(columns_of(wave, { from_s: 2, to_s: 6 }, 4), [[-0.3, 0.3], [-0.4, 0.4], null, null]);
  assert.deepEqual(columns_of({ ...wave, min: [], max: [] }, { from_s: 0, to_s: 4 }, 2), [null, null]);
  assert.deepEqual(columns_of({ ...wave, from_s: 10, until_s: 12 }, { from_s: 9, to_s: 13 }, 4), [null, [-0.2, 0.2], [-0.4, 0.4], null]);
  assert.equal(peak_of(wave), 0.4);
});

test('the view follows the place, a page at a time, and stays within the recording', () => {
  assert.deepEqual(window_of(100, 1, 50), { from_s: 0, to_s: 100 });
  const first = window_of(100, 4, 50);
  assert.deepEqual(first, { from_s: 45, to_s: 70 });
  assert.deepEqual(window_of(100, 4, 69, first), first, 'it stays while the place is in sight');
  assert.deepEqual(window_of(100, 4, 71, first), { from_s: 66, to_s: 91 });
  assert.deepEqual(window_of(100, 4, 99), { from_s: 75, to_s: 100 });
  assert.deepEqual(window_of(0, 4, 0), { from_s: 0, to_s: 1 });
});

test('the finer waveform is taken where it covers what is shown', () => {
  const part = { from_s: 1, until_s: 3 };
  assert.equal(wave_for(wave, part, { from_s: 1.5, to_s: 2.5 }), part);
  assert.equal(wave_for(wave, part, { from_s: 0.5, to_s: 2.5 }), wave);
  assert.equal(wave_for(wave, null, { from_s: 0, to_s: 4 }), wave);
});

test('the ruler has room for its words', () => {
  for (const [width_s, px] of [[0.5, 320], [60, 320], [900, 1_200], [90_000, 320]]) assert.ok((ruler_step(width_s, px) / width_s) * px >= 76 || ruler_step(width_s, px) === 14_400);
});

// ---- playback ----

class FakeAudio extends EventTarget {
  constructor() {
    super();
    Object.assign(this, { currentTime: 0, duration: NaN, readyState: 0, paused: true, ended: false, error: null, src: '' });
    FakeAudio.made.push(this);
  }
  play() { this.paused = false; return Promise.resolve(); }
  pause() { this.paused = true; }
  load() {}
  removeAttribute() { this.src = ''; }
  ready(duration) { this.duration = duration; this.readyState = 4; this.dispatchEvent(new Event('loadedmetadata')); }
  end() { this.currentTime = this.duration; this.ended = true; this.paused = true; this.dispatchEvent(new Event('ended')); }
}
function playback() {
  FakeAudio.made = [];
  return { it: new Playback({ changed: () => {}, make: () => new FakeAudio() }), last: () => FakeAudio.made.at(-1) };
}

test('nothing is loaded before it is played; a place chosen before counts', () => {
  const { it, last } = playback();
  it.load('a', 60);
  it.seek(20);
  assert.equal(FakeAudio.made.length, 0);
  assert.equal(it.position_s, 20);
  it.play();
  assert.match(last().src, /api\/recordings\/a\/audio/);
  last().ready(60);
  assert.equal(last().currentTime, 20);
  it.skip(100);
  assert.equal(last().currentTime, 60, 'not beyond the end');
  it.skip(-100);
  assert.equal(last().currentTime, 0);
  it.load('a', 60);
  assert.equal(FakeAudio.made.length, 1, 'the same one is not loaded anew');
});

test('at the end of what grows it waits and goes on when there is more; when it has ended, so has this', () => {
  const { it, last } = playback();
  it.load('a', 10);
  it.follow(true);
  it.play();
  last().ready(10);
  last().end();
  assert.equal(it.playing, false);
  it.grown(10.2);
  assert.equal(FakeAudio.made.length, 1, 'too little to be worth it');
  it.grown(13);
  assert.equal(FakeAudio.made.length, 2);
  last().ready(13);
  assert.equal(last().currentTime, 10);
  assert.equal(it.playing, true);
  last().end();
  it.follow(false);
  assert.equal(it.playing, false);
  it.grown(13);
  assert.equal(FakeAudio.made.length, 2);
  it.play();
  assert.equal(it.position_s, 0, 'played again it begins at the start');
});

test('the last half second of what has ended is heard, and what was fetched in vain is not fetched again', () => {
  const { it, last } = playback();
  it.load('a', 10);
  it.follow(true);
  it.play();
  last().ready(10);
  last().end();
  it.grown(10.3);
  assert.equal(FakeAudio.made.length, 1);
  it.follow(false);
  assert.equal(FakeAudio.made.length, 2);
  last().ready(10);
  last().end();
  assert.equal(FakeAudio.made.length, 2);
  assert.equal(it.playing, false);
});

test('another file of the same sound keeps place, movement and speed', () => {
  const { it, last } = playback();
  it.load('a', 60);
  it.set_rate(1.5);
  it.play();
  last().ready(60);
  last().currentTime = 33;
  it.switch('a-opus');
  assert.match(last().src, /a-opus/);
  last().ready(60);
  assert.deepEqual([last().currentTime, last().paused, last().playbackRate], [33, false, 1.5]);
});

test('a failure is said, keeps the place, and can be tried again', () => {
  const { it, last } = playback();
  it.load('a', 60);
  it.play();
  last().ready(60);
  last().currentTime = 12;
  last().error = { code: 2 };
  last().dispatchEvent(new Event('error'));
  assert.deepEqual([it.error, it.playing, it.position_s], ['network', false, 12]);
  it.play();
  assert.equal(FakeAudio.made.length, 2);
  assert.equal(it.position_s, 12);
});

// ---- recorders and jobs ----

const status = (payload, born, epoch = 7) => ({ type: 'recorder_status', payload: { recorder_id: 'r', status: 'armed', ...payload }, born, epoch });

test('the last levels are kept, within bounds, and the last status that had one', () => {
  let map = recorders.initial();
  for (let i = 0; i < 3 * LEVELS; i += 1) map = recorders.reduce(map, [status({ level_db: -50 + i / 100 }, i * 250)], false);
  assert.equal(map.get('r').levels.length, LEVELS);
  const before = map;
  map = recorders.reduce(map, [status({ status: 'offline' }, 1e6)], false);
  assert.equal(map.get('r').heard.payload.level_db, -50 + (3 * LEVELS - 1) / 100);
  assert.equal(before.get('r').payload.status, 'armed', 'what was given is as it was');
  map = recorders.reduce(map, [status({ level_db: -20 }, 2e6)], true);
  assert.equal(map.get('r').levels.length, LEVELS, 'a snapshot does not forget the course');
  assert.equal(recorders.reduce(map, [], true).size, 0);
});

test('how much louder it is than before is told once there is a before', () => {
  const course = (seconds, at) => ({ levels: Array.from({ length: seconds }, (_, i) => ({ at: i * 1_000, value: at(seconds - 1 - i) })) });
  assert.equal(louder(course(60, (ago) => (ago < 5 ? -20 : -50))), 30);
  assert.equal(louder(course(60, () => -50)), 0);
  assert.equal(louder(course(6, () => -50)), null);
  assert.equal(louder({}), null);
});

test('who records is named only while that is known; what may be asked is what the recorder says', () => {
  const map = new Map([['a', { payload: { status: 'recording', name: 'A' } }], ['b', { payload: { status: 'hold' } }], ['c', { payload: { status: 'armed' } }]]);
  assert.deepEqual(recording_names(map, () => true), ['A', 'b']);
  assert.deepEqual(recording_names(map, () => false), []);
  assert.deepEqual(actions_of('recording', ['stop']), ['stop']);
  assert.deepEqual(actions_of('recording'), ['split', 'stop']);
  assert.deepEqual(actions_of('fault'), []);
});

test('jobs that are put off are counted', () => {
  const job = (payload) => ({ payload });
  assert.deepEqual(job_counts(new Map([['a', job({ status: 'queued', deferred: true })], ['b', job({ status: 'queued' })], ['c', job({ status: 'running' })]])), { running: 1, queued: 2, failed: 0, deferred: 1 });
});
