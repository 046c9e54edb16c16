// What has just become another, so that its row can be marked for a moment. Pure but for what it remembers: the value of
// each key when it was last asked.

const MARKED_MS = 1_800;
/** Keys that are remembered. */
const MOST = 500;

export class Changes {
  constructor() {
    this.seen = new Map();
  }

  /** Whether the value of `key` changed a moment ago; what is seen for the first time has not. */
  of(key, value, now = performance.now()) {
    const before = this.seen.get(key);
    if (before?.value === value) return now - before.at < MARKED_MS;
    this.seen.set(key, { value, at: before ? now : -Infinity });
    if (this.seen.size > MOST) this.seen.delete(this.seen.keys().next().value);
    return Boolean(before);
  }
}
