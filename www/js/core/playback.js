// Plays recordings: the page's one audio element, which is in no document and so outlives every drawing of the page. A
// recording that still grows is played as far as it goes; when the end is reached and there is more by now, it goes on.

import { address } from './api.js';

export const RATES = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 2];
/** A position this close to the end is the end. */
const END_S = 0.15;
/** While a recording grows this much more is worth fetching anew; of one that has ended everything is. */
const MORE_S = 0.5;

const REASON = { 1: 'aborted', 2: 'network', 3: 'decode', 4: 'unsupported' };

export class Playback {
  /** `changed()` is called when something differs that is shown. */
  constructor({ changed, make = () => new Audio() }) {
    this.changed = changed;
    this.make = make;
    this.audio = null;
    this.source = null;
    this.known_s = null;
    this.rate = 1;
    this.follows = false;
    this.forget();
  }

  forget() {
    this.wanted_s = null;
    this.wants = false;
    this.waiting = false;
    this.error = null;
    this.asked_s = null;
  }

  /** Makes `recording_id` the one to play, from its start; nothing happens when it is that already. */
  load(recording_id, known_s = null, at_s = 0) {
    if (this.source === recording_id) return;
    this.stop();
    this.source = recording_id;
    this.known_s = known_s;
    this.wanted_s = at_s;
    this.changed();
  }

  /** The same sound from another file: place and movement are kept. */
  switch(recording_id) {
    if (this.source === recording_id) return;
    const { position_s, playing, known_s, follows } = this;
    this.stop();
    Object.assign(this, { source: recording_id, known_s, follows, wanted_s: position_s });
    if (playing) this.play();
    this.changed();
  }

  /** The recording is now this long. */
  grown(known_s) {
    if (typeof known_s !== 'number' || known_s <= (this.known_s ?? 0)) return;
    this.known_s = known_s;
    // Everything that was there has been played and there is more.
    if (this.wants && this.audio?.ended && this.is_more()) this.obtain(this.position_s);
  }

  /** Whether more may come: then the end is only where one waits for it. */
  follow(growing) {
    this.follows = growing;
    if (growing || !this.wants || !this.audio?.ended) return;
    if (this.is_more()) this.obtain(this.position_s);
    else this.wants = false;
  }

  get playing() {
    return this.wants && !this.error && !this.at_live_end;
  }

  /** Everything there is has been heard and more is waited for. */
  get at_live_end() {
    return Boolean(this.follows && this.wants && this.audio?.ended && this.wanted_s === null);
  }

  get position_s() {
    return this.wanted_s ?? this.audio?.currentTime ?? 0;
  }

  /** Seconds, or null while nothing says. */
  get duration_s() {
    const own = this.audio?.duration;
    const heard = Number.isFinite(own) ? own : null;
    return this.known_s === null ? heard : Math.max(this.known_s, heard ?? 0);
  }

  /** Whether there is more than when the file was asked for. What was asked for in vain is not asked for again. */
  is_more() {
    const had = Math.max(this.asked_s ?? 0, Number.isFinite(this.audio?.duration) ? this.audio.duration : 0);
    return this.known_s !== null && this.known_s - had > (this.follows ? MORE_S : END_S);
  }

  at_end() {
    return this.duration_s !== null && this.position_s >= this.duration_s - END_S;
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    if (!this.source) return;
    const again = this.error !== null;
    this.error = null;
    this.wants = true;
    const from = this.at_end() ? 0 : this.position_s;
    if (!this.audio || again || (this.audio.ended && this.is_more())) this.obtain(from);
    else {
      if (from !== this.position_s) this.seek(from);
      this.go();
    }
    this.changed();
  }

  pause() {
    this.wants = false;
    this.audio?.pause();
    this.changed();
  }

  /** To `s` seconds, kept within the recording. */
  seek(s) {
    const end = this.duration_s;
    const to = Math.max(0, end === null ? s : Math.min(s, end));
    const loaded = this.audio?.readyState >= 1;
    const reach = this.audio?.duration;
    if (loaded && Number.isFinite(reach) && to > reach && this.is_more()) this.obtain(to);
    else if (loaded) {
      this.wanted_s = null;
      this.audio.currentTime = to;
      if (this.wants && this.audio.paused) this.go();
    } else this.wanted_s = to;
    this.changed();
  }

  skip(by_s) {
    this.seek(this.position_s + by_s);
  }

  set_rate(rate) {
    this.rate = rate;
    if (this.audio) this.audio.playbackRate = rate;
    this.changed();
  }

  /** Silence. */
  stop() {
    this.release();
    this.source = null;
    this.known_s = null;
    this.forget();
  }

  // ---- the element ----

  /** The element lets go of its connection. */
  release() {
    const { audio } = this;
    this.audio = null;
    if (!audio) return;
    audio.pause();
    audio.removeAttribute('src');
    audio.load();
  }

  obtain(at_s) {
    this.release();
    const audio = this.make();
    this.audio = audio;
    this.wanted_s = at_s;
    this.asked_s = this.known_s;
    this.waiting = true;
    const mine = (act) => () => {
      if (this.audio !== audio) return;
      act();
      this.changed();
    };
    audio.preload = 'auto';
    audio.addEventListener('loadedmetadata', mine(() => {
      if (this.wanted_s) audio.currentTime = this.wanted_s;
      this.wanted_s = null;
    }));
    audio.addEventListener('waiting', mine(() => { this.waiting = true; }));
    for (const name of ['playing', 'canplay', 'seeked', 'pause']) audio.addEventListener(name, mine(() => { this.waiting = false; }));
    audio.addEventListener('ended', mine(() => {
      this.waiting = false;
      if (this.wants && this.is_more()) this.obtain(audio.currentTime);
      else if (!this.follows) this.wants = false;
    }));
    audio.addEventListener('error', mine(() => {
      this.error = REASON[audio.error?.code] ?? 'network';
      this.wanted_s = this.position_s;
      this.wants = false;
      this.waiting = false;
    }));
    // Another length is another address, though the daemon does not see it: what the browser keeps of a growing file is
    // not taken for the whole.
    audio.src = `${address(`api/recordings/${encodeURIComponent(this.source)}/audio`)}#${Math.round((this.known_s ?? 0) * 10)}`;
    audio.playbackRate = this.rate;
    audio.defaultPlaybackRate = this.rate;
    if (this.wants) this.go();
  }

  go() {
    this.audio.playbackRate = this.rate;
    this.audio.play().catch((error) => {
      if (error.name === 'AbortError') return;
      if (error.name === 'NotAllowedError') this.wants = false;
      this.changed();
    });
  }
}
