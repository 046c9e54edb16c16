// The lines of the log page. Pure. `rows` are what the page shows, oldest first, at most MOST; `held` are newer ones that
// wait while the person reads further up, the newest MOST of them. Rows pushed out at the end by older ones are held too:
// what is shown is always one piece without a hole.

import { is_after } from './ids.js';

/** Rows in the page, and lines held back. */
export const MOST = 500;
/** Characters of a search. */
export const TEXT_MOST = 200;

export const LEVELS = ['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'];

/** `older`: the id from which to ask for more, or null at the beginning. `dropped`: held lines are gone, which leaves a hole. */
export const initial = () => ({ rows: [], held: [], newer: 0, following: true, older: null, dropped: false });

/** Rows cut to what the page holds; what was cut at the top can be asked for again. */
const cut = (rows, older) => (rows.length > MOST ? { rows: rows.slice(-MOST), older: rows.at(-MOST).id } : { rows, older });

/** A line as the page has it, from an event of the stream. */
export function line_of({ id, topic, timestamp, clock, corrected, payload = {} }) {
  return {
    id, topic, level: payload.level ?? 'INFO', message: payload.message ?? '', timestamp: payload.timestamp ?? timestamp,
    source: payload.source ?? payload.queue_id ?? payload.scan_id ?? null, clock: clock ?? null, corrected: corrected ?? null, code: payload.code ?? null,
  };
}

/** The same from `GET /api/log`. */
export const line_of_item = (item) => line_of({ ...item, payload: item });

/** Whether a line passes the filters {level, source, text}, as the daemon sees it: level is the least one, text is looked for
 * in the message, the source and the topic. */
export function passes(line, { level, source, text }) {
  if (level && LEVELS.indexOf(line.level) < LEVELS.indexOf(level)) return false;
  if (source && line.source !== source) return false;
  if (!text) return true;
  return [line.message, line.source, line.topic].some((said) => said?.toLowerCase().includes(text.toLowerCase()));
}

/** The newest page, as the daemon gave it: newest first. */
export function loaded(book, items, next) {
  const rows = items.map(line_of_item).reverse();
  const last = rows.at(-1)?.id ?? null;
  const live = [...book.rows, ...book.held].filter((line) => is_after(line.id, last));
  return { ...initial(), ...cut([...rows, ...live], next ?? null) };
}

/** Lines that came, oldest first. */
export function came(book, lines) {
  const last = book.held.at(-1)?.id ?? book.rows.at(-1)?.id ?? null;
  const fresh = lines.filter((line, i) => is_after(line.id, last) && (i === 0 || is_after(line.id, lines[i - 1].id)));
  if (!fresh.length) return book;
  if (!book.following) {
    const held = [...book.held, ...fresh];
    return { ...book, held: held.slice(-MOST), newer: book.newer + fresh.length, dropped: book.dropped || held.length > MOST };
  }
  return { ...book, ...cut([...book.rows, ...fresh], book.older) };
}

/** A page before the first row, newest first as the daemon gave it. */
export function before(book, items, next) {
  const first = book.rows[0]?.id ?? null;
  const older = items.map(line_of_item).reverse().filter((line) => first === null || is_after(first, line.id));
  const rows = [...older, ...book.rows];
  const over = rows.slice(MOST);
  const held = [...over, ...book.held];
  return {
    ...book, rows: rows.slice(0, MOST), older: next ?? null, held: held.slice(-MOST), newer: book.newer + over.length,
    following: book.following && !over.length, dropped: book.dropped || held.length > MOST,
  };
}

/** The person reads further up. */
export const pause = (book) => (book.following ? { ...book, following: false } : book);

/** Back to the end. */
export function follow(book) {
  const whole = book.dropped ? cut(book.held, book.held[0].id) : cut([...book.rows, ...book.held], book.older);
  return { ...book, ...whole, held: [], newer: 0, following: true, dropped: false };
}

/** Lines as text, a line each; a message of several lines is indented. */
export function as_text(rows) {
  return rows.map((r) => `${r.corrected ?? r.timestamp} ${r.level.padEnd(8)} ${r.source ? `${r.source}: ` : ''}${r.message.replace(/\r?\n/g, '\n    ')}\n`).join('');
}

/** Why no line is shown: `loading`, `error`, `filter` (none matches) or `none` (there never was one). */
export function why_empty(status, { level, source, text }) {
  if (status === 'loading') return 'loading';
  if (status === 'error' || status === 'denied') return 'error';
  return level || source || text ? 'filter' : 'none';
}
