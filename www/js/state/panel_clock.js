// What a panel may choose of when it is refreshed. Pure.

/** `push` is told by the daemon, a number asks every so many seconds, `manual` only when the person does. */
export const PACES = ['push', 1, 2, 5, 10, 30, 60, 'manual'];

/** A stored choice; what is not offered is `preset`. */
export const parse_pace = (text, offered, preset) => offered.find((pace) => String(pace) === text) ?? preset;

/** The period in ms, or null where there is none. */
export const period_ms = (pace) => (typeof pace === 'number' ? pace * 1_000 : null);

/** Seconds after which what a panel shows is old: its own pause comes on top. */
export const limit_of = (pace, limit_s) => limit_s + (typeof pace === 'number' ? pace : 0);
