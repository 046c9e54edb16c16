// The configuration as the page edits it. Pure. `base` is what the daemon last gave (`GET /api/config`); a draft is only
// what differs from it, so that an update of the base never touches what was typed.
//
// Values come as the file has them (`"1GB"`, `["a", "b"]`, `true`) and go as JSON of the same type.

/** `values`: key -> text as typed, null for "use the default". `blocks`: `list/id` -> text. `raw`: the whole file. */
export const no_draft = () => ({ values: {}, blocks: {}, raw: null });

export const is_empty = (draft) => !Object.keys(draft.values).length && !Object.keys(draft.blocks).length && draft.raw === null;

/** A value of the file as a person types it; '' for none. Lists have a line an item. */
export function typed(kind, value) {
  const text = String(value ?? '').trim();
  if (kind === 'list') return items_of(text).join('\n');
  return unquoted(text);
}

function unquoted(text) {
  if (/^'[^']*'$/.test(text)) return text.slice(1, -1);
  if (!/^".*"$/s.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text.slice(1, -1);
  }
}

function items_of(text) {
  if (!text.startsWith('[')) return text.split(',').map((item) => item.trim()).filter(Boolean);
  return [...text.matchAll(/"(?:[^"\\]|\\.)*"|'[^']*'|[^\s,[\]]+/g)].map(([item]) => unquoted(item));
}

/** What was typed as it is sent; what is no number or switch goes as it is, for the daemon to say what was expected. */
export function sent(kind, typed_text) {
  const text = typed_text.trim();
  if (kind === 'list') return text.split('\n').map((item) => item.trim()).filter(Boolean);
  if (kind === 'switch') return text === 'true';
  return kind === 'number' && UNITS.number.test(text) ? Number(text.replaceAll('_', '')) : text;
}

/** Every key of every section: path -> key. */
export const keys_of = (base) => new Map((base?.sections ?? []).flatMap((section) => section.keys.map((key) => [key.key, key])));

/** What stands in the field of a key. */
export function field(draft, key) {
  if (!(key.key in draft.values)) return typed(key.kind, key.value);
  return draft.values[key.key] ?? typed(key.kind, key.default);
}

/** Whether a key has its default. */
export const is_default = (draft, key) => (key.key in draft.values ? draft.values[key.key] === null : key.value === null || key.value === undefined || String(key.value) === String(key.default ?? ''));

/** Takes what was typed (null: the default); what is as it was is no change. */
export function type(draft, key, text) {
  const values = { ...draft.values };
  const as_was = text === null ? is_default(no_draft(), key) : text === typed(key.kind, key.value);
  if (as_was) delete values[key.key];
  else values[key.key] = text;
  return { ...draft, values };
}

/** Takes the text of a block; undefined: as it is in the file. */
export function type_block(draft, path, text) {
  const { [path]: _before, ...others } = draft.blocks;
  return { ...draft, blocks: text === undefined ? others : { ...others, [path]: text } };
}

/** The changes of these keys alone. */
export const part = (draft, keys) => ({ values: Object.fromEntries(keys.map((key) => [key, draft.values[key]])) });

/** The draft without what was sent and is saved; what was changed since then stays. */
export function without(draft, { values = {}, blocks = {}, raw = null }) {
  const left = (now, sent) => Object.fromEntries(Object.entries(now).filter(([key, text]) => !(key in sent) || sent[key] !== text));
  return { values: left(draft.values, values), blocks: left(draft.blocks, blocks), raw: draft.raw === raw ? null : draft.raw };
}

/** The changed keys of a section, or of all. */
export const changed = (draft, section) => Object.keys(draft.values).filter((key) => !section || section.keys.some((k) => k.key === key));

/** Leaves out the changes of these keys. */
export function reset(draft, keys) {
  return { ...draft, values: Object.fromEntries(Object.entries(draft.values).filter(([key]) => !keys.includes(key))) };
}

/** The body of a PUT that saves these keys. */
export function order(base, draft, keys) {
  const all = keys_of(base);
  const set = {};
  const unset = [];
  for (const key of keys) {
    const text = draft.values[key];
    if (text === null || text === undefined || text.trim() === '') unset.push(key);
    else set[key] = sent(all.get(key)?.kind, text);
  }
  return { set, unset, if_revision: base.revision };
}

const UNITS = { duration: /^(\d+(\.\d+)?\s*(ms|s|m|h|d)\s*)+$/, size: /^\d+\s*(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$/, number: /^[+-]?\d[\d_]*(\.\d+)?([eE][+-]?\d+)?$/ };

/** What is plainly no value of its kind: `duration`, `size`, `number`, or null. The daemon decides; this is sooner. */
export function fault(key, text) {
  const rule = UNITS[key.kind];
  if (!rule || text.trim() === '' || rule.test(text.trim())) return null;
  return /\bnever\b/.test(key.type ?? '') && text.trim() === 'never' ? null : key.kind;
}

// ---- lists: blocks of the file ----

/** Where a block stands in the file: its offset, or -1 when it is not there exactly once. */
export function find_block(text, block) {
  const at = block ? text.indexOf(block) : -1;
  return at >= 0 && text.indexOf(block, at + 1) < 0 ? at : -1;
}

/**
 * The file with one block of the list `name` replaced: {text, line}, the line it begins at. A block is what stands below its
 * `[[name]]`. Without a block before it is put at the end; without one after it goes, with its head. Null: not found.
 */
export function with_block(text, name, before, after) {
  if (before === null) {
    const kept = text.trim() ? `${text.replace(/\s*$/, '')}\n\n` : '';
    return { text: `${kept}[[${name}]]\n${after.trim()}\n`, line: line_at(`${kept}[[${name}]]\n`) };
  }
  const at = find_block(text, before);
  if (at < 0) return null;
  const rest = text.slice(at + before.length);
  if (after !== null) return { text: text.slice(0, at) + after.trim() + rest, line: line_at(text.slice(0, at)) };
  const head = new RegExp(`\\[\\[${name}\\]\\][^\\n]*\\n\\s*$`).exec(text.slice(0, at));
  return head && { text: text.slice(0, head.index) + rest.replace(/^\n+/, ''), line: line_at(text.slice(0, head.index)) };
}

const line_at = (before) => before.split('\n').length;

// ---- changed elsewhere ----

/** {key, was, theirs, mine} of every key that differs between the two bases or was changed here. */
export function compare(base, fresh, draft) {
  const [was, theirs] = [keys_of(base), keys_of(fresh)];
  const rows = [];
  for (const key of new Set([...was.keys(), ...theirs.keys()])) {
    const [a, b] = [was.get(key), theirs.get(key)];
    const moved = String(a?.value ?? '') !== String(b?.value ?? '');
    if (moved || key in draft.values) {
      rows.push({ key, was: a ? typed(a.kind, a.value) : null, theirs: b ? typed(b.kind, b.value) : null, mine: key in draft.values ? draft.values[key] : undefined });
    }
  }
  return rows;
}

/** Where two texts differ: what is alike before and after is left out. Null when they are the same. */
export function difference(ours, theirs) {
  if (ours === theirs) return null;
  const [a, b] = [ours.split('\n'), theirs.split('\n')];
  let from = 0;
  while (from < a.length && from < b.length && a[from] === b[from]) from += 1;
  let end = 0;
  while (end < a.length - from && end < b.length - from && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  return { line: from + 1, ours: a.slice(from, a.length - end), theirs: b.slice(from, b.length - end) };
}

/** The offsets of a line in a text, for the cursor of an editor. */
export function line_range(text, line) {
  const lines = text.split('\n');
  const n = Math.min(Math.max(1, line), lines.length) - 1;
  const from = lines.slice(0, n).reduce((sum, l) => sum + l.length + 1, 0);
  return [from, from + lines[n].length];
}
