// Sends commands and follows them to their end (state/commands.js). One at a time a button: a second tap while one
// waits sends nothing. A retry sends the same again; of a command that never got an answer
// with its id, so that it acts once.

import { ApiError, random_id, request } from './api.js';
import { CONFIRM_MS, advance, begin, pending } from '../state/commands.js';

/** How long "Done" or the reason of a refusal stays. */
const SHOWN_MS = { confirmed: 2_500, refused: 60_000, unconfirmed: Infinity };

/** Kinds that share one topic: target and state of one of them. */
const OF_ONE_TOPIC = {
  alert: (p) => [`alert/${p.alert_id}`, p.state],
  service_status: (p) => [`service/${p.name}`, p.status],
};

export class Commands {
  constructor({ store, changed }) {
    this.changed = changed;
    this.running = new Map();
    store.listen((envelope) => this.event(envelope));
  }

  /** The command of a button, or undefined. */
  of(target, action) {
    return this.running.get(`${target}/${action}`);
  }

  /** Whether anything waits on this target. */
  busy(target) {
    return [...this.running.values()].some((c) => c.target === target && pending(c));
  }

  /**
   * Sends `action` to `target` (a topic) at `path`; `effect` lists the states that show it was done. What is not a POST
   * has its outcome in the answer: 200 is done. `done(answer)` is given the body of an answer that is not a refusal.
   * A `body` that is a function is made when it is sent.
   */
  send(order) {
    const { path, method = 'POST', body = {} } = order;
    this.begin(order, { method, path, body: typeof body === 'function' ? body() : body });
  }

  /** Sends again what was sent, whatever the order would ask for by now. */
  retry(order) {
    const before = this.of(order.target, order.action);
    if (before) this.begin(order, before.asked);
  }

  begin({ target, action, effect = [], done }, asked) {
    const before = this.of(target, action);
    if (pending(before)) return;
    const again = before?.phase === 'unconfirmed' && !before.taken && JSON.stringify(before.asked) === JSON.stringify(asked);
    const id = again ? before.id : random_id();
    const command = begin({ id, target, action, effect, at: performance.now(), asked });
    this.running.set(command.key, command);
    this.changed();
    setTimeout(() => this.step(command.key, id, { type: 'clock', at: performance.now() }), CONFIRM_MS + 20);
    request(asked.method, asked.path, asked.method === 'DELETE' ? undefined : { ...asked.body, command_id: id }, { limit_ms: CONFIRM_MS }).then(
      ({ status, body: answer }) => {
        done?.(answer);
        this.step(command.key, id, {
          type: 'answered', state: status === 200 || status === 201 ? 'completed' : answer?.state ?? 'accepted', reason: answer?.reason,
        });
      },
      (error) => this.step(command.key, id, error instanceof ApiError && error.status
        ? { type: 'refused', reason: error.message }
        : { type: 'unsent' }),
    );
  }

  /** Takes a refusal or a missing confirmation off the screen. */
  dismiss(target, action) {
    this.running.delete(`${target}/${action}`);
    this.changed();
  }

  event(envelope) {
    const payload = envelope.payload ?? {};
    const [target, status] = OF_ONE_TOPIC[envelope.type]?.(payload) ?? [envelope.topic, payload.status];
    for (const command of this.running.values()) {
      if (envelope.type === 'command_result') this.step(command.key, command.id, { ...payload, type: 'result' });
      else this.step(command.key, command.id, { type: 'state', target, status });
    }
  }

  step(key, id, input) {
    const before = this.running.get(key);
    if (before?.id !== id) return;
    const after = advance(before, input);
    if (after === before) return;
    this.running.set(key, after);
    if (!pending(after) && Number.isFinite(SHOWN_MS[after.phase])) {
      setTimeout(() => {
        if (this.running.get(key) === after) this.running.delete(key);
        this.changed();
      }, SHOWN_MS[after.phase]);
    }
    this.changed();
  }
}
