// An instrument's channels as its page shows and drives them. Pure.

import { beyond, number_of } from './scan_form.js';
import { readings } from './instruments.js';

/** Channels in a stable order, positions among them; `moving` where it says so, or where the instrument moves and is not there. */
export function channel_rows(payload) {
  return readings(payload).map((r) => ({
    ...r,
    target: r.target ?? payload.target?.[r.name] ?? null,
    moving: r.moving ?? (payload.is_moving === true && on_its_way(r.value, r.target ?? payload.target?.[r.name], r.tolerance)),
    limits: r.limits?.control ?? null,
    settable: r.settable === true,
    words: r.words ?? [],
  }));
}

function on_its_way(value, target, tolerance = 0) {
  return typeof value === 'number' && typeof target === 'number' && Math.abs(target - value) > tolerance;
}

/** Whether it moves, as far as it says. */
export const is_moving = (payload) => payload.is_moving === true || payload.status === 'moving' || Object.values(payload.channels ?? {}).some((c) => c.moving === true);

/** 0..1 of where a value is within its limits, or null. */
export function share_of(limits, value) {
  if (typeof value !== 'number' || typeof limits?.low !== 'number' || typeof limits?.high !== 'number' || limits.high <= limits.low) return null;
  return Math.min(1, Math.max(0, (value - limits.low) / (limits.high - limits.low)));
}

/** What is typed for a channel: {value} to send, or {fault: 'number' | limits}, or {} for nothing yet. */
export function setting_of(text, { words, limits }) {
  if (String(text ?? '').trim() === '') return {};
  if (words?.includes(text)) return { value: text };
  const value = number_of(text);
  if (typeof value !== 'number') return { fault: 'number' };
  const broken = beyond(limits, value);
  return broken ? { fault: broken } : { value };
}

/** The error of an instrument that the person has put away: it comes back when it is another, or happens again. */
export const error_key = (payload) => (payload.error ? `${payload.error}` : null);
