// The connection's decisions as tables: a story is a list of [input, what must then hold].

import assert from 'node:assert/strict';
import test from 'node:test';
import * as machine from '../../www/js/core/connection_machine.js';

/** Runs a story; `random` is fixed so that delays are exact. Every effect is kept, the last step's apart. */
function run(story, { settings, random = 1 } = {}) {
  let state = machine.initial(settings);
  const all = [];
  let last = [];
  for (const input of story) {
    [state, last] = machine.step(state, typeof input === 'string' ? { type: input } : input, random);
    all.push(...last);
  }
  return { state, last, all, names: last.map((e) => e[0]) };
}

const hello = { type: 'hello', heartbeat_s: 5, whole: false };
const resumed = { type: 'hello', heartbeat_s: 5, whole: true };
const dead = { type: 'watch', quiet_ms: 12_500 };
const LIVE = ['start', hello, 'snapshot_end'];
const refused = { type: 'catch_up_failed', status: 0 };
const FAILED_3 = [...LIVE, 'stream_error', 'retry', refused, 'retry', refused];
const timer = (effects, name) => effects.filter((e) => e[0] === 'timer' && e[1] === name).at(-1)?.[2];

test('a first connection opens at once and is live only when the snapshot is whole', () => {
  assert.deepEqual(run(['start']).names.filter((n) => n !== 'clear'), ['open', 'timer']);
  assert.equal(run(['start']).state.status, 'connecting');
  assert.equal(run(['start', hello]).state.status, 'connecting');
  assert.equal(run(LIVE).state.status, 'live');
});

test('starting twice opens once', () => {
  assert.equal(run(['start', 'start']).all.filter((e) => e[0] === 'open').length, 1);
});

test('a lost stream is caught up by a poll first, then reopened', () => {
  const lost = run([...LIVE, 'stream_error']);
  assert.equal(lost.state.status, 'reconnecting');
  assert.equal(timer(lost.last, 'retry'), 1_000);
  assert.deepEqual(run([...LIVE, 'stream_error', 'retry']).last.at(-1), ['catch_up', 10_000]);
  const back = run([...LIVE, 'stream_error', 'retry', 'caught_up', resumed]);
  assert.equal(back.state.status, 'live');
  assert.deepEqual(back.all.filter((e) => e[0] === 'count').map((e) => e[1]), ['drops', 'catch_ups', 'reconnects']);
});

test('silence of 2.5 heartbeats is death, a little less is not', () => {
  assert.equal(timer(run(LIVE).all, 'watch'), 12_500);
  const alive = run([...LIVE, { type: 'watch', quiet_ms: 12_000 }]);
  assert.equal(alive.state.status, 'live');
  assert.equal(timer(alive.last, 'watch'), 500);
  const over = run([...LIVE, dead]);
  assert.equal(over.state.status, 'reconnecting');
  assert.ok(over.names.includes('close'));
  assert.deepEqual(over.all.filter((e) => e[0] === 'count').map((e) => e[1]), ['stalls', 'drops']);
});

test('back-off doubles from 1 s to 30 s, is jittered, never ends', () => {
  const waits = [0, 1, 2, 3, 4, 5, 6, 50].map((n) => machine.backoff_ms(n, 1));
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  assert.equal(machine.backoff_ms(3, 0), 4_000);
  assert.equal(machine.backoff_ms(0, 0), 1_000);
  const story = ['start'];
  for (let i = 0; i < 40; i += 1) story.push('stream_error', 'retry');
  assert.equal(run(story, { settings: { mode: 'stream' } }).state.stream, 'opening');
});

test('three failed attempts start polling, with one poll in flight', () => {
  const two = run(FAILED_3.slice(0, -2));
  assert.equal(two.state.polling, 'off');
  const three = run(FAILED_3);
  assert.deepEqual(three.last.filter((e) => e[0] === 'poll'), [['poll', 10_000]]);
  assert.equal(run([...FAILED_3, 'poll', 'poll']).all.filter((e) => e[0] === 'poll').length, 1);
  const answered = run([...FAILED_3, { type: 'poll_ok', more: false }]);
  assert.equal(answered.state.status, 'polling');
  assert.equal(timer(answered.last, 'poll'), 2_000);
});

test('more history than one answer holds is asked for at once', () => {
  assert.ok(run([...FAILED_3, { type: 'poll_ok', more: true }]).names.includes('poll'));
});

test('while polling, failing probes of the stream do not change the word', () => {
  const polling = [...FAILED_3, { type: 'poll_ok', more: false }];
  for (const story of [['retry'], ['retry', 'stream_error'], ['retry', 'stream_error', 'poll'], ['retry', 'stream_error', 'poll', { type: 'poll_ok' }, 'retry', dead]]) {
    assert.equal(run([...polling, ...story]).state.status, 'polling', JSON.stringify(story));
  }
  assert.ok(!run([...polling, 'retry']).names.includes('catch_up'), 'polling is the catch-up');
});

test('a probe that succeeds ends polling', () => {
  const back = run([...FAILED_3, { type: 'poll_ok' }, 'retry', resumed]);
  assert.equal(back.state.status, 'live');
  assert.equal(back.state.polling, 'off');
  assert.ok(back.names.includes('abort'));
  assert.equal(back.state.failures, 0);
});

test('no answer to polls is offline; an answer after that tries the stream at once', () => {
  const offline = run([...FAILED_3, { type: 'poll_failed', status: 0 }]);
  assert.equal(offline.state.status, 'offline');
  const waits = [1, 2, 3, 4, 5].map((n) => timer(run([...FAILED_3, ...Array(n).fill([{ type: 'poll_failed', status: 0 }, 'poll']).flat().slice(0, -1)]).last, 'poll'));
  assert.deepEqual(waits, [2_000, 4_000, 5_000, 5_000, 5_000]);
  const back = run([...FAILED_3, { type: 'poll_failed', status: 0 }, 'poll', { type: 'poll_ok' }]);
  assert.equal(back.state.status, 'polling');
  assert.ok(back.names.includes('open'));
});

test('mode stream never polls and says offline; mode polling never opens', () => {
  const stream = run(FAILED_3, { settings: { mode: 'stream' } });
  assert.equal(stream.all.filter((e) => e[0] === 'poll').length, 0);
  assert.equal(stream.state.status, 'offline');
  const polling = run(['start', { type: 'poll_ok' }, 'poll', { type: 'poll_ok' }], { settings: { mode: 'polling', poll_ms: 5_000 } });
  assert.equal(polling.all.filter((e) => e[0] === 'open' || e[0] === 'catch_up').length, 0);
  assert.equal(polling.state.status, 'polling');
  assert.equal(timer(polling.last, 'poll'), 5_000);
});

test('the switch works both ways while connected', () => {
  const polling = run([...LIVE, { type: 'mode', mode: 'polling' }]);
  assert.ok(polling.names.includes('close') && polling.names.includes('poll'));
  const back = run([...LIVE, { type: 'mode', mode: 'polling' }, { type: 'poll_ok' }, { type: 'mode', mode: 'auto' }, resumed]);
  assert.equal(back.state.status, 'live');
  assert.equal(back.state.polling, 'off');
});

test('waking tries at once what waits and resets the back-off', () => {
  const woken = run([...FAILED_3, { type: 'poll_failed', status: 0 }, { type: 'wake', quiet_ms: 60_000 }]);
  assert.ok(woken.names.includes('poll') && woken.names.includes('open'));
  assert.equal(woken.state.backoff, 0);
  assert.equal(run([...LIVE, 'stream_error', 'wake']).last.at(-1)[0], 'catch_up');
});

test('waking leaves a stream alone that was just heard, and replaces one that was not', () => {
  assert.deepEqual(run([...LIVE, { type: 'wake', quiet_ms: 4_000 }]).last, []);
  const replaced = run([...LIVE, { type: 'wake', quiet_ms: 60_000 }]);
  assert.deepEqual(replaced.last.map((e) => e[0]), ['close', 'count', 'clear', 'count', 'catch_up']);
});

test('a farewell is waited for as long as it asks, and is not a failure', () => {
  const bye = run([...LIVE, { type: 'bye', reason: 'shutdown', retry_ms: 700 }]);
  assert.equal(timer(bye.last, 'retry'), 700);
  assert.equal(bye.state.failures, 0);
  assert.equal(run([...LIVE, { type: 'bye', reason: 'limit', retry_ms: 700 }]).state.failures, 1);
});

test('reopening for other topics stays live unless it fails', () => {
  assert.equal(run([...LIVE, 'reopen']).state.status, 'live');
  assert.equal(run([...LIVE, 'reopen', hello]).state.status, 'live');
  const done = run([...LIVE, 'reopen', hello, 'snapshot_end']);
  assert.equal(done.state.status, 'live');
  assert.ok(!done.all.some((e) => e[1] === 'reconnects' || e[1] === 'drops'), 'nothing was lost');
  assert.equal(run([...LIVE, 'reopen', 'stream_error']).state.status, 'reconnecting');
  assert.equal(run(['start', 'reopen']).state.status, 'connecting', 'a first connection is not live yet');
});

test('stopping lets go of everything; nothing but a start moves it again', () => {
  const stopped = run([...FAILED_3, { type: 'poll_ok' }, 'stop']);
  assert.deepEqual(stopped.last.map((e) => e.slice(0, 2).join(' ')), ['close', 'abort', 'clear retry', 'clear poll', 'clear watch']);
  for (const late of ['retry', 'poll', dead, 'wake', 'stream_error', 'reopen', { type: 'poll_ok' }]) {
    assert.deepEqual(run([...LIVE, 'stop', late]).last, [], JSON.stringify(late));
  }
  assert.equal(run([...LIVE, 'stop', 'start']).last.at(-1)[0], 'catch_up');
});

test('a missing key is told apart from a missing daemon', () => {
  const first = run(['start', 'stream_error']);
  assert.ok(first.names.includes('check'));
  const denied = run(['start', 'stream_error', { type: 'stream_denied', status: 401 }]);
  assert.equal(denied.state.denied, 401);
  assert.equal(denied.state.status, 'offline');
  assert.equal(run([...LIVE, 'stream_error', 'retry', { type: 'catch_up_failed', status: 401 }]).state.denied, 401);
  assert.equal(run(['start', 'stream_error', { type: 'stream_denied', status: 401 }, 'retry', hello, 'snapshot_end']).state.status, 'live');
});

test('late answers of another turn are ignored', () => {
  for (const late of ['caught_up', refused, { type: 'poll_ok' }, { type: 'poll_failed', status: 0 }, 'retry', 'poll']) {
    const { state, last } = run([...LIVE, late]);
    assert.equal(state.status, 'live');
    assert.deepEqual(last, []);
  }
});

test('whatever happens in whatever order, it goes on trying and keeps one poll', () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1e6);
  let x = seed || 1;
  const random = () => { x = (x * 48_271) % 2_147_483_647; return x / 2_147_483_647; };
  const inputs = ['retry', 'poll', 'stream_error', 'caught_up', 'snapshot_end', 'reopen', 'stop', 'start', hello, resumed, refused, dead,
    { type: 'poll_ok' }, { type: 'poll_ok', more: true }, { type: 'poll_failed', status: 0 }, { type: 'wake', quiet_ms: 99_999 },
    { type: 'bye', reason: 'shutdown', retry_ms: 1 }, { type: 'mode', mode: 'polling' }, { type: 'mode', mode: 'auto' }, { type: 'mode', mode: 'stream' }];
  let state = machine.initial();
  const timers = new Set();
  let fetching = 0;
  for (let i = 0; i < 20_000; i += 1) {
    const pick = inputs[Math.floor(random() * inputs.length)];
    const input = typeof pick === 'string' ? { type: pick } : pick;
    // Timers only run out when set, and answers only come to questions.
    if (['retry', 'poll', 'watch'].includes(input.type) && !timers.delete(input.type)) continue;
    const was = state;
    let effects;
    [state, effects] = machine.step(state, input, random());
    if (was.polling === 'asking' && /^poll_/.test(input.type)) fetching -= 1;
    for (const [name, which] of effects) {
      if (name === 'timer') timers.add(which);
      if (name === 'clear') timers.delete(which);
      if (name === 'poll') fetching += 1;
      if (name === 'abort') fetching = 0;
    }
    const where = `seed ${seed}, step ${i}, after ${JSON.stringify(input)}: ${JSON.stringify(state)}`;
    assert.ok(fetching <= 1, `two polls: ${where}`);
    if (!state.wanted) continue;
    const moves = state.stream === 'waiting' ? timers.has('retry')
      : ['opening', 'loading', 'live'].includes(state.stream) ? timers.has('watch')
        : state.stream === 'catching' || state.polling === 'asking' || timers.has('poll');
    assert.ok(moves, `nothing will ever happen again: ${where}`);
    if (state.polling === 'waiting') assert.ok(timers.has('poll'), `polling stands still: ${where}`);
  }
});
