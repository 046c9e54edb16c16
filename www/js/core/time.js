// Ages without mixing clocks. The daemon's clock comes with `hello` and every heartbeat; between them the browser's
// monotonic clock counts. The browser's own wall clock is used for two things only: to tell a sleep of this device from
// a step of the daemon's clock, and to say how far the two clocks differ.

/** A jump smaller than this is jitter of the network. */
const JUMP_MS = 2_000;

export class DaemonClock {
  /** `mono()` in ms never goes back; `wall()` is this device's clock in ms. */
  constructor({ mono = () => performance.now(), wall = () => Date.now() } = {}) {
    this.raw_mono = mono;
    this.wall = wall;
    this.slept_ms = 0;
    this.anchor = null;
  }

  /** Monotonic ms that also counts the time this device slept, as far as it was noticed. */
  mono() {
    return this.raw_mono() + this.slept_ms;
  }

  /** Takes the daemon's present time, RFC 3339. */
  take(now) {
    const daemon_ms = Date.parse(now);
    if (Number.isNaN(daemon_ms)) return;
    const wall_ms = this.wall();
    if (this.anchor) {
      const passed = this.mono() - this.anchor.mono;
      const daemon_jump = daemon_ms - this.anchor.daemon_ms - passed;
      const wall_jump = wall_ms - this.anchor.wall_ms - passed;
      // Both wall clocks went on while the monotonic one stood: this device was asleep.
      if (daemon_jump > JUMP_MS && Math.abs(daemon_jump - wall_jump) < JUMP_MS) this.slept_ms += daemon_jump;
    }
    this.anchor = { daemon_ms, wall_ms, mono: this.mono() };
  }

  /** The daemon's clock in ms, or null before it was heard. */
  now_ms() {
    return this.anchor && this.anchor.daemon_ms + this.mono() - this.anchor.mono;
  }

  /** When (on `mono()`) something stamped by the daemon's clock happened; never in the future; null when unknown. */
  born(timestamp) {
    const ms = Date.parse(timestamp ?? '');
    const now = this.now_ms();
    if (Number.isNaN(ms) || now === null) return null;
    return this.mono() - Math.max(0, now - ms);
  }

  /** This device's clock minus the daemon's, in seconds; null before it was heard. */
  offset_s() {
    return this.anchor && (this.anchor.wall_ms - this.anchor.daemon_ms) / 1_000;
  }
}
