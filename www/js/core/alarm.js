// Calls a person: a sound, a notification of the browser. Loaded only where somebody chose one of them. Of several tabs
// of this browser one sounds: each says on a channel what it could do, the best one does it.
//
// What was open when the page was opened is seen, not heard. A new occurrence, or one that became worse, sounds again;
// what is acknowledged or snoozed does not.

import { random_id } from './api.js';
import { t } from './i18n.js';
import { alarm_key, alarms } from '../state/alarm.js';

const CHANNEL = 'telltale-alarm';
/** How long tabs wait for each other. */
const CLAIM_MS = 250;
/** Hz and seconds of each tone. The worse, the more and the higher. */
const TONES = {
  MINOR: [[660, 0.16], [880, 0.2]],
  MAJOR: [[880, 0.16], [660, 0.16], [880, 0.16], [660, 0.16], [880, 0.3]],
};
const LOUDNESS = 0.25;

/** Why notifications can't be had here: `insecure`, `missing`, `denied`, or null. */
export function notify_blocked(scope = globalThis) {
  if (!scope.isSecureContext) return 'insecure';
  if (!('Notification' in scope)) return 'missing';
  return scope.Notification.permission === 'denied' ? 'denied' : null;
}

export class Alarm {
  constructor(app) {
    this.app = app;
    this.me = random_id('t');
    this.heard = null;
    this.claims = new Map();
    this.sounded = [];
    this.seen = null;
    this.silent = false;
    this.channel = typeof BroadcastChannel === 'function' ? new BroadcastChannel(CHANNEL) : null;
    if (this.channel) this.channel.onmessage = ({ data }) => this.told(data);
    for (const name of ['pointerdown', 'keydown']) addEventListener(name, () => this.unlock(), { capture: true, passive: true });
  }

  /** Whether this tab may make a sound; browsers allow it only after a tap. */
  audible() {
    return this.audio?.state === 'running';
  }

  /** Looks at the open alerts; called after every change. */
  check() {
    const { store } = this.app;
    if (!store.complete || this.seen === store.slices.alerts) return;
    this.seen = store.slices.alerts;
    const { heard, fresh } = alarms(this.heard, this.seen, store.clock.now_ms());
    this.heard = heard;
    if (fresh.length) this.claim(fresh);
  }

  /** Sounds once, as a trial. Needs to be called by a tap. */
  async trial() {
    await this.unlock();
    this.play('MINOR');
  }

  // ---- which tab ----

  claim(fresh) {
    const key = fresh.map(alarm_key).sort().join(' ');
    const mine = { key, tab: this.me, sound: this.audible(), visible: document.visibilityState === 'visible' };
    this.channel?.postMessage(mine);
    const others = this.claims.get(key) ?? [];
    this.claims.set(key, others);
    setTimeout(() => {
      this.claims.delete(key);
      if (others.some((other) => before(other, mine))) return;
      this.channel?.postMessage({ key, tab: this.me, done: true });
      this.call(fresh);
    }, CLAIM_MS);
  }

  told({ key, tab, sound, visible, done }) {
    const others = this.claims.get(key) ?? [];
    others.push({ tab, sound, visible, done });
    this.claims.set(key, others);
    // A tab that was slow to hear of it asks after it was done.
    if (!done && this.sounded.includes(key)) this.channel.postMessage({ key, tab: this.me, done: true });
    if (this.claims.size > 64) this.claims.delete(this.claims.keys().next().value);
  }

  // ---- calling ----

  call(fresh) {
    const key = fresh.map(alarm_key).sort().join(' ');
    this.sounded = [...this.sounded.slice(-31), key];
    const { preferences } = this.app;
    if (preferences.get('sound')) this.play(fresh[0].severity);
    if (preferences.get('notify')) fresh.forEach((payload) => this.notify(payload));
  }

  play(severity) {
    if (!this.audible()) {
      this.silent = true;
      this.app.ticker.now();
      return;
    }
    let at = this.audio.currentTime + 0.02;
    for (const [pitch, length] of TONES[severity] ?? TONES.MAJOR) {
      const tone = this.audio.createOscillator();
      const gain = this.audio.createGain();
      tone.type = 'triangle';
      tone.frequency.value = pitch;
      gain.gain.setValueAtTime(0, at);
      gain.gain.linearRampToValueAtTime(LOUDNESS, at + 0.01);
      gain.gain.setValueAtTime(LOUDNESS, at + length - 0.03);
      gain.gain.linearRampToValueAtTime(0, at + length);
      tone.connect(gain).connect(this.audio.destination);
      tone.start(at);
      tone.stop(at + length);
      at += length + 0.05;
    }
    this.played = (this.played ?? 0) + 1;
  }

  notify({ alert_id, message, severity }) {
    if (notify_blocked() || Notification.permission !== 'granted' || document.hasFocus()) return;
    const note = new Notification(`${t(`alert.${severity}`)} · ${this.app.store.slices.health.config?.payload.name ?? 'telltale'}`, {
      body: message, tag: `telltale/${alert_id}`, requireInteraction: severity !== 'MINOR',
    });
    note.onclick = () => {
      window.focus();
      location.hash = `#/alerts/${encodeURIComponent(alert_id)}`;
      note.close();
    };
  }

  /** Called on the first tap: from then on this tab may sound, and what it could not is made up for. */
  async unlock() {
    if (!this.app.preferences.get('sound') || this.audible() || typeof AudioContext !== 'function') return;
    this.audio ??= new AudioContext();
    try {
      await this.audio.resume();
    } catch {
      // Stays silent; the page says so.
    }
    if (!this.audible()) return;
    if (this.silent) {
      this.silent = false;
      this.play('MAJOR');
    }
    this.app.ticker.now();
  }
}

/** Whether the other tab is the better one to call: done already, can sound, is seen, else by name. */
function before(other, mine) {
  if (other.done) return true;
  if (other.sound !== mine.sound) return other.sound;
  if (other.visible !== mine.visible) return other.visible;
  return other.tab < mine.tab;
}
