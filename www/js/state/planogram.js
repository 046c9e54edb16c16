// The planogram as it is edited: rows of text, what is wrong with them, and CSV. Pure. The rules are the daemon's
// (docs/detections.md); it checks again.

export const FIELDS = ['location', 'sku', 'expected', 'tolerance', 'name'];
const NEEDED = ['location', 'sku', 'expected'];
const COUNTS = ['expected', 'tolerance'];
export const MOST = 5_000;
const WORD = 64;
const NAME = 128;
const size = (text) => new TextEncoder().encode(text).length;

/** Rows of the daemon as rows of text. */
export const to_rows = (items) => items.map((item) => ({ location: item.location, sku: item.sku, expected: String(item.expected), tolerance: String(item.tolerance ?? 0), name: item.name ?? '' }));
export const empty_row = (location = '') => ({ location, sku: '', expected: '1', tolerance: '0', name: '' });
export const change = (rows, at, field, text) => rows.map((row, i) => (i === at ? { ...row, [field]: text } : row));
export const without = (rows, at) => rows.filter((_, i) => i !== at);

/** What is wrong: [{row, field, kind, value}], kind one of empty, number, long, twice, many. */
export function faults(rows) {
  const found = [];
  const seen = new Map();
  rows.forEach((row, n) => {
    for (const field of FIELDS) {
      const value = row[field].trim();
      if (!value && NEEDED.includes(field)) found.push({ row: n, field, kind: 'empty', value });
      else if (value && COUNTS.includes(field) && !(/^\d+$/.test(value) && Number(value) <= 4_294_967_295)) found.push({ row: n, field, kind: 'number', value });
      else if (size(value) > (field === 'name' ? NAME : WORD)) found.push({ row: n, field, kind: 'long', value });
    }
    const key = `${row.location.trim()}\n${row.sku.trim()}`;
    if (row.location.trim() && row.sku.trim() && seen.has(key)) found.push({ row: n, field: 'sku', kind: 'twice', value: row.sku.trim() });
    seen.set(key, n);
  });
  if (rows.length > MOST) found.push({ row: MOST, field: 'location', kind: 'many', value: String(rows.length) });
  return found;
}

/** As the daemon takes them. */
export const to_items = (rows) => rows.map((row) => ({
  location: row.location.trim(), sku: row.sku.trim(), expected: Number(row.expected), tolerance: Number(row.tolerance || 0), ...(row.name.trim() ? { name: row.name.trim() } : {}),
}));

/** Whether a draft is something else than what the daemon has. */
export const differs = (rows, items) => JSON.stringify(to_items(rows)) !== JSON.stringify(to_items(to_rows(items)));

/** Rows that would be gone: in `items`, not in `rows`. */
export function lost(rows, items) {
  const kept = new Set(rows.map((row) => `${row.location.trim()}\n${row.sku.trim()}`));
  return items.filter((item) => !kept.has(`${item.location}\n${item.sku}`)).length;
}

/** Cells of CSV (RFC 4180): [{line, cells}]; `line` is where a record begins. A quote that is not closed is a fault. */
export function records(text) {
  const out = [];
  let line = 1;
  let begin = 1;
  let cells = [];
  let cell = '';
  let quoted = false;
  let any = false;
  const end_cell = () => {
    cells.push(cell.trim());
    cell = '';
  };
  const end_record = () => {
    end_cell();
    if (any) out.push({ line: begin, cells });
    cells = [];
    any = false;
    begin = line;
  };
  const body = text.replace(/^\uFEFF/, '');
  for (let i = 0; i < body.length; i += 1) {
    const c = body[i];
    if (c === '\n') line += 1;
    if (quoted) {
      if (c === '"' && body[i + 1] === '"') {
        cell += '"';
        i += 1;
      } else if (c === '"') quoted = false;
      else cell += c;
      continue;
    }
    if (c === '"' && !cell.trim()) {
      quoted = true;
      any = true;
      cell = '';
    } else if (c === ',') {
      any = true;
      end_cell();
    } else if (c === '\n') end_record();
    else if (c !== '\r') {
      any ||= c.trim() !== '';
      cell += c;
    }
  }
  const open = quoted ? begin : null;
  if (any || cell) end_record();
  return { records: out, open };
}

/** A planogram from CSV: {rows, faults: [{line, field, kind, value}]}; with faults nothing is to be taken over. */
export function parse_csv(text) {
  const { records: all, open } = records(text);
  if (open !== null) return { rows: [], faults: [{ line: open, field: '', kind: 'quote', value: '' }] };
  const [head, ...body] = all;
  const columns = (head?.cells ?? []).map((name) => name.toLowerCase());
  const missing = NEEDED.filter((name) => !columns.includes(name));
  if (missing.length) return { rows: [], faults: missing.map((field) => ({ line: head?.line ?? 1, field, kind: 'column', value: '' })) };
  const found = [];
  const rows = [];
  const lines = [];
  for (const { line, cells } of body) {
    if (cells.length !== columns.length) {
      found.push({ line, field: '', kind: 'cells', value: `${cells.length}/${columns.length}` });
      continue;
    }
    const cell = (name) => cells[columns.indexOf(name)] ?? '';
    rows.push({ location: cell('location'), sku: cell('sku'), expected: cell('expected'), tolerance: cell('tolerance') || '0', name: cell('name') });
    lines.push(line);
  }
  for (const { row, ...fault } of faults(rows)) found.push({ line: lines[row] ?? lines.at(-1), ...fault });
  return { rows, faults: found.sort((a, b) => a.line - b.line) };
}
