// What is sent for a command, and sent again: a retry asks for what was asked for, not for what the page would ask for by now.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Commands } from '../../www/js/core/commands.js';
import { CONFIRM_MS } from '../../www/js/state/commands.js';

/** Commands whose requests never get through; `sent` are their bodies. */
function commands(t) {
  const sent = [];
  t.mock.timers.enable({ apis: ['setTimeout'] });
  t.mock.method(globalThis, 'fetch', async (url, { body }) => {
    sent.push(JSON.parse(body));
    throw new TypeError('no way');
  });
  const it = new Commands({ store: { listen() {} }, changed() {} });
  const unconfirmed = async (action) => {
    await new Promise((ok) => setImmediate(ok));
    it.step(`instrument/x/${action}`, it.of('instrument/x', action).id, { type: 'clock', at: performance.now() + CONFIRM_MS });
    assert.equal(it.of('instrument/x', action).phase, 'unconfirmed');
  };
  return { it, sent, unconfirmed };
}

test('a retry sends the body of the first try under its id, whatever is typed by now; a tap sends what is typed', async (t) => {
  const { it, sent, unconfirmed } = commands(t);
  let typed = 1;
  const order = { target: 'instrument/x', action: 'move', path: 'api/instruments/x/move', body: () => ({ target: { x: typed } }) };
  it.send(order);
  await unconfirmed('move');
  typed = 200;
  it.retry(order);
  assert.deepEqual(sent[1], sent[0]);
  await unconfirmed('move');
  it.send(order);
  assert.deepEqual(sent[2].target, { x: 200 });
  assert.notEqual(sent[2].command_id, sent[0].command_id, 'another command');
  await unconfirmed('move');
  it.send(order);
  assert.deepEqual(sent[3], sent[2], 'the same again acts once');
});
