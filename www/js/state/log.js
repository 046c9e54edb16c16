// The lines of the log page. Pure. `rows` are what the page shows, oldest first, at most MOST; `held` are newer ones that
// wait while the person reads further up, the newest MOST of them. Rows pushed out at the end by older ones are held too:
// what is shown is always one piece without a hole.

import { is_after } from './ids.js';

/** Rows in the page, and lines held back. */
export const MOST = 500;

export const LEVELS = ['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'];

/** `older`: there may be more before the first row. `dropped`: held lines that are gone and would leave a hole. */
export const initial = () => ({ rows: [], held: [], newer: 0, following: true, older: false, dropped: false });

/** A line as the page has it, from an event of the stream. */
export function line_of({ id, topic, timestamp, clock, corrected, payload = {} }) {
  return {
    id, topic, level: payload.level ?? 'INFO', message: payload.message ?? '', timestamp: payload.timestamp ?? timestamp,
    source: payload.source ?? payload.queue_id ?? payload.scan_id ?? null, clock: clock ?? null, corrected: corrected ?? null, code: payload.code ?? null,
  };
}

/** The same from `GET /api/log`. */
export const line_of_item = (item) => line_of({ ...item, payload: item });

/** Whether a line passes the filters {level, source, text}: level is the least one, text is looked for in all words. */
export function passes(line, { level, source, text }) {
  if (level && LEVELS.indexOf(line.level) < LEVELS.indexOf(level)) return false;
  if (source && line.source !== source) return false;
  if (!text) return true;
  return line.message.toLowerCase().includes(text.toLowerCase());
}

/** The newest page, as the daemon gave it: newest first. */
export function loaded(book, items, next) {
  const rows = items.map(line_of_item).reverse();
  const last = rows.at(-1)?.id ?? null;
  const live = [...book.rows, ...book.held].filter((line) => is_after(line.id, last));
  return { ...initial(), rows: [...rows, ...live].slice(-MOST), older: next !== null && next !== undefined };
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
  const rows = [...book.rows, ...fresh];
  return { ...book, rows: rows.slice(-MOST), older: book.older || rows.length > MOST };
}

/** A page before the first row, newest first as the daemon gave it. */
export function before(book, items, next) {
  const first = book.rows[0]?.id ?? null;
  const older = items.map(line_of_item).reverse().filter((line) => first === null || is_after(first, line.id));
  const rows = [...older, ...book.rows];
  const over = rows.slice(MOST);
  const held = [...over, ...book.held];
  return {
    ...book, rows: rows.slice(0, MOST), older: next !== null && next !== undefined, held: held.slice(-MOST), newer: book.newer + over.length,
    following: book.following && !over.length, dropped: book.dropped || held.length > MOST,
  };
}

/** The person reads further up. */
export const pause = (book) => (book.following ? { ...book, following: false } : book);

/** Back to the end. */
export function follow(book) {
  const rows = book.dropped ? book.held : [...book.rows, ...book.held];
  return { ...book, rows: rows.slice(-MOST), held: [], newer: 0, following: true, dropped: false, older: book.older || book.dropped || rows.length > MOST };
}

/** Lines as text, a line each; a message of several lines is indented. */
export function as_text(rows) {
  return rows.map((r) => `${r.corrected ?? r.timestamp} ${r.level.padEnd(8)} ${r.source ? `${r.source}: ` : ''}${r.message.replace(/\r?\n/g, '\n    ')}\n`).join('');
}
