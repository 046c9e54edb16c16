// How the page stays connected, as a pure machine: (state, input) -> [state, effects].
//
// It owns every decision (when to open, to give up, to poll, to return) and performs none: link.js feeds it what
// happened and does what it says. It promises never to stop trying while it is wanted, never to have more than one
// poll in flight, and to change the word people see (`status`) only when what works has changed. It does not know
// events, cursors or sockets.
//
// Inputs:  start stop wake{quiet_ms} mode{mode} poll_every{ms} reopen
//          hello{heartbeat_s, whole} snapshot_end stream_error bye{reason, retry_ms} stream_denied{status}
//          caught_up catch_up_failed{status} poll_ok{more} poll_failed{status}
//          retry, poll, watch{quiet_ms}                                  (timers that ran out)
// Effects: ['open'] ['close'] ['catch_up', limit_ms] ['check'] ['poll', limit_ms] ['abort']
//          ['timer', name, ms] ['clear', name] ['count', name]

/** Failed stream attempts in a row after which short polling starts. */
export const ATTEMPTS_BEFORE_POLLING = 3;
/** Heartbeats without a byte after which a stream is dead. */
export const HEARTBEATS_TO_DEATH = 2.5;

const BACKOFF_LEAST_MS = 1_000;
const BACKOFF_MOST_MS = 30_000;
const OPEN_LEAST_MS = 2_500;
const OPEN_MOST_MS = 10_000;
/** A daemon that does not answer polls is asked less often, up to this. */
const POLL_AWAY_MS = 5_000;

/** The state before `start`. */
export function initial({ mode = 'auto', poll_ms = 2_000 } = {}) {
  return {
    mode, poll_ms,
    wanted: false,
    /** closed | catching | opening | loading (hello was there, the snapshot not yet) | live | waiting */
    stream: 'closed',
    /** off | asking | waiting */
    polling: 'off',
    failures: 0, backoff: 0, poll_failures: 0,
    /** Whether there is a cursor to catch up from. */
    resumable: false,
    /** Whether something worked at least once: tells `connecting` from `reconnecting`. */
    worked: false,
    /** Reopening for other topics: nothing is lost, so nothing is shown. */
    switching: false,
    heartbeat_ms: 5_000,
    denied: null,
    status: 'connecting',
  };
}

/** Delay before attempt `n` (from 0): doubles from 1 s to 30 s, jittered over its upper half. */
export function backoff_ms(n, random) {
  const full = Math.min(BACKOFF_MOST_MS, BACKOFF_LEAST_MS * 2 ** Math.min(n, 10));
  return Math.max(BACKOFF_LEAST_MS, Math.round(full * (0.5 + random / 2)));
}

/** Silence after which the stream counts as dead. */
export function dead_after_ms(state) {
  return HEARTBEATS_TO_DEATH * state.heartbeat_ms;
}

/** How long an attempt may take until the first event. */
export function open_limit_ms(state) {
  return Math.min(OPEN_MOST_MS, Math.max(OPEN_LEAST_MS, dead_after_ms(state)));
}

/** One step. `random` is in [0, 1). */
export function step(before, input, random = Math.random()) {
  const state = { ...before };
  const effects = [];
  const handle = inputs[input.type];
  if (!handle) throw new Error(`unknown input ${input.type}`);
  if (state.wanted || ['start', 'mode', 'poll_every'].includes(input.type)) handle(state, effects, input, random);
  state.status = status_of(state);
  return [state, effects];
}

function status_of(state) {
  if (state.stream === 'live') return 'live';
  if (state.switching && state.failures === 0 && state.stream !== 'waiting') return 'live';
  if (state.polling !== 'off') {
    if (state.poll_failures > 0) return 'offline';
    if (state.polling === 'waiting' || state.status === 'polling') return 'polling';
  }
  if (state.denied) return 'offline';
  if (state.mode === 'stream' && state.failures >= ATTEMPTS_BEFORE_POLLING) return 'offline';
  if (state.status === 'offline') return 'offline';
  return state.worked ? 'reconnecting' : 'connecting';
}

const inputs = {
  start(state, effects) {
    if (state.wanted) return;
    state.wanted = true;
    fresh(state);
    attempt(state, effects);
  },

  stop(state, effects) {
    state.wanted = false;
    state.stream = 'closed';
    state.polling = 'off';
    state.switching = false;
    if (state.status === 'offline') state.status = 'reconnecting';
    effects.push(['close'], ['abort'], ['clear', 'retry'], ['clear', 'poll'], ['clear', 'watch']);
  },

  mode(state, effects, { mode }) {
    if (mode === state.mode) return;
    state.mode = mode;
    if (!state.wanted) return;
    fresh(state);
    if (mode === 'polling' || state.stream !== 'live') {
      state.stream = 'closed';
      effects.push(['close'], ['clear', 'retry'], ['clear', 'watch']);
    }
    if (mode === 'stream') stop_polling(state, effects);
    if (state.stream !== 'live') attempt(state, effects);
  },

  poll_every(state, _effects, { ms }) {
    state.poll_ms = ms;
  },

  // The person is back (tab shown, network up): whatever waits goes now, and what looks live must prove it.
  wake(state, effects, { quiet_ms = 0 }) {
    if (state.stream === 'live' || state.stream === 'loading') {
      if (quiet_ms <= 1.2 * state.heartbeat_ms) return;
      effects.push(['close'], ['count', 'drops']);
      state.stream = 'closed';
    } else if (state.stream === 'opening' || state.stream === 'catching') {
      return;
    }
    fresh(state);
    if (state.polling === 'waiting') ask(state, effects);
    attempt(state, effects);
  },

  reopen(state, effects) {
    if (!['live', 'loading', 'opening'].includes(state.stream)) return;
    state.switching ||= state.stream === 'live';
    effects.push(['close']);
    open(state, effects);
  },

  hello(state, effects, { heartbeat_s, whole }) {
    if (state.stream !== 'opening') return;
    if (heartbeat_s > 0) state.heartbeat_ms = heartbeat_s * 1_000;
    if (state.worked && !state.switching) effects.push(['count', 'reconnects']);
    fresh(state);
    state.denied = null;
    state.stream = 'loading';
    stop_polling(state, effects);
    effects.push(['timer', 'watch', dead_after_ms(state)]);
    if (whole) live(state);
  },

  snapshot_end(state) {
    if (state.stream === 'loading') live(state);
    state.resumable = true;
  },

  stream_error(state, effects, _input, random) {
    if (['opening', 'loading', 'live'].includes(state.stream)) fail(state, effects, random);
  },

  stream_denied(state, effects, { status }) {
    state.denied = status;
  },

  // A farewell says when to come back; only `limit` (no room for another stream) counts as a failure.
  bye(state, effects, { reason, retry_ms }, random) {
    if (!['opening', 'loading', 'live'].includes(state.stream)) return;
    if (reason === 'limit') return fail(state, effects, random);
    if (state.stream === 'live') effects.push(['count', 'drops']);
    state.stream = 'waiting';
    state.switching = false;
    const wait = retry_ms > 0 ? Math.min(retry_ms, BACKOFF_MOST_MS) : backoff_ms(0, random);
    effects.push(['close'], ['clear', 'watch'], ['timer', 'retry', wait]);
  },

  caught_up(state, effects) {
    if (state.stream !== 'catching') return;
    state.resumable = true;
    state.denied = null;
    open(state, effects);
  },

  catch_up_failed(state, effects, { status }, random) {
    if (state.stream !== 'catching') return;
    note_denied(state, status);
    fail(state, effects, random);
  },

  poll_ok(state, effects, { more }) {
    if (state.polling !== 'asking') return;
    const was_away = state.poll_failures > 0;
    state.poll_failures = 0;
    state.worked = true;
    state.resumable = true;
    state.denied = null;
    if (more) return ask(state, effects);
    state.polling = 'waiting';
    effects.push(['timer', 'poll', state.poll_ms]);
    // The daemon is back: try the stream now rather than at the end of a long back-off.
    if (was_away && state.mode !== 'polling' && state.stream === 'waiting') {
      state.backoff = 0;
      open(state, effects);
    }
  },

  poll_failed(state, effects, { status }, random) {
    if (state.polling !== 'asking') return;
    note_denied(state, status);
    state.poll_failures += 1;
    state.polling = 'waiting';
    const away = Math.min(POLL_AWAY_MS, state.poll_ms * 2 ** Math.min(state.poll_failures - 1, 8));
    effects.push(['count', 'poll_failures'], ['timer', 'poll', Math.round(Math.max(state.poll_ms, away) * (0.75 + random / 4))]);
  },

  retry(state, effects) {
    if (state.stream === 'waiting') attempt(state, effects);
  },

  poll(state, effects) {
    if (state.polling === 'waiting') ask(state, effects);
  },

  // The watch runs from the last byte; `quiet_ms` says how long ago that was.
  watch(state, effects, { quiet_ms }, random) {
    if (!['opening', 'loading', 'live'].includes(state.stream)) return;
    const limit = state.stream === 'opening' ? open_limit_ms(state) : dead_after_ms(state);
    if (quiet_ms < limit) return void effects.push(['timer', 'watch', limit - quiet_ms]);
    effects.push(['count', 'stalls']);
    fail(state, effects, random);
  },
};

function fresh(state) {
  state.failures = 0;
  state.backoff = 0;
}

function live(state) {
  state.stream = 'live';
  state.worked = true;
  state.switching = false;
  state.resumable = true;
}

/** One try at the stream: catch up first, unless polling does that already. */
function attempt(state, effects) {
  effects.push(['clear', 'retry']);
  if (state.mode === 'polling') {
    state.stream = 'closed';
    if (state.polling === 'off') ask(state, effects);
  } else if (state.resumable && state.polling === 'off') {
    state.stream = 'catching';
    effects.push(['count', 'catch_ups'], ['catch_up', open_limit_ms(state)]);
  } else {
    open(state, effects);
  }
}

function open(state, effects) {
  state.stream = 'opening';
  effects.push(['clear', 'retry'], ['open'], ['timer', 'watch', open_limit_ms(state)]);
}

function ask(state, effects) {
  state.polling = 'asking';
  effects.push(['clear', 'poll'], ['count', 'polls'], ['poll', open_limit_ms(state)]);
}

function stop_polling(state, effects) {
  if (state.polling === 'off') return;
  state.polling = 'off';
  state.poll_failures = 0;
  effects.push(['clear', 'poll'], ['abort']);
}

function fail(state, effects, random) {
  if (state.stream === 'live' || state.switching) effects.push(['count', 'drops']);
  // A stream's error has no status code; a plain request shows whether a key is missing.
  if (!state.resumable && state.polling === 'off') effects.push(['check']);
  state.stream = 'waiting';
  state.switching = false;
  state.failures += 1;
  effects.push(['close'], ['clear', 'watch'], ['timer', 'retry', backoff_ms(state.backoff, random)]);
  state.backoff += 1;
  if (state.failures >= ATTEMPTS_BEFORE_POLLING && state.mode === 'auto' && state.polling === 'off') ask(state, effects);
}

function note_denied(state, status) {
  if (status === 401 || status === 403) state.denied = status;
  else state.denied = null;
}
