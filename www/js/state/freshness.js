// Whether a value may be read as the present one. Pure.

/** Seconds after which a value of each kind is old, where the daemon does not say. Sources repeat what has not changed
 * about every 10 s. */
export const LIMIT_S = { recorder: 15, job: 60, stream: 15, instrument: 15, health: 30 };

/**
 * {age_s, stale, why}: why is `restored` (from before the daemon's restart), `lost` (no connection), `old`, `daemon`
 * (the daemon itself calls it stale) or null. `limit_s` of Infinity or 0 never ages by itself.
 */
export function judge(entry, { mono, epoch, connected, limit_s = Infinity }) {
  const age_s = Math.max(0, (mono - entry.born) / 1_000);
  const why = origin(entry, { age_s, epoch, connected, limit_s: limit_s || Infinity });
  return { age_s, stale: why !== null, why };
}

function origin(entry, { age_s, epoch, connected, limit_s }) {
  const { quality, quality_reason } = entry.payload ?? {};
  if (Number.isFinite(epoch) && entry.epoch < epoch) return 'restored';
  if ((entry.quality ?? quality) === 'uncertain' && (entry.quality_reason ?? quality_reason) === 'initial') return 'restored';
  if (!connected) return 'lost';
  if ((quality_reason ?? entry.quality_reason) === 'stale') return 'daemon';
  return age_s > limit_s ? 'old' : null;
}
