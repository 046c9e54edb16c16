// One source in full: what of its status and `detail` the system page shows. Pure.

/** How long ago a source was heard, s: both times are the daemon's, the time since is the browser's; null if never. */
export function silent_s(entry, age_s) {
  const heard = Date.parse(entry.payload.last_seen ?? '');
  const said = Date.parse(entry.stamp);
  return Number.isNaN(heard) || Number.isNaN(said) ? null : Math.max(0, (said - heard) / 1_000) + age_s;
}

/** The members of `detail` that are no figure of the table: shown in places of their own. */
const APART = ['last_bad', 'feeds'];
const TARGETS = ['recorder', 'instrument', 'stream', 'topic'];

/** {name, value} of everything a source counts, nested ones as `a.b`. */
export function counters(detail = {}) {
  const rows = [];
  const walk = (prefix, value) => {
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) for (const [k, v] of Object.entries(value)) walk(`${prefix}.${k}`, v);
    else rows.push({ name: prefix, value: Array.isArray(value) ? value.map((v) => (typeof v === 'object' ? JSON.stringify(v) : String(v))).join(', ') : value });
  };
  for (const [name, value] of Object.entries(detail)) if (!APART.includes(name) && !TARGETS.includes(name) && !(name === 'streams' && Array.isArray(value))) walk(name, value);
  return rows;
}

/** What a source feeds, as `kind/id`: what it says itself. */
export function feeds({ feeds: said, streams, ...detail } = {}) {
  const named = [...(Array.isArray(said) ? said : said ? [said] : []), ...(Array.isArray(streams) ? streams.map((id) => `stream/${id}`) : [])];
  return [...new Set([...named.map(String), ...TARGETS.filter((kind) => typeof detail[kind] === 'string').map((kind) => (kind === 'topic' ? detail[kind] : `${kind}/${detail[kind]}`))])];
}

/** What the file says a source feeds, and the list it stands in; null when it is in none. */
export function configured(lists, id) {
  for (const list of lists ?? []) {
    const item = list.items.find((one) => one.id === id);
    if (item) return { list: list.name, feeds: [...item.text.matchAll(/^\s*(recorder|instrument|stream|topic)\s*=\s*["']([^"'\n]+)["']/gm)].map(([, kind, to]) => (kind === 'topic' ? to : `${kind}/${to}`)) };
  }
  return null;
}

/** Bytes as a person can read them: what can't be printed is written as \xNN, \r, \n, \t. */
export function visible(text) {
  const short = { '\r': '\\r', '\n': '\\n', '\t': '\\t' };
  return [...String(text)].map((c) => short[c] ?? (c < ' ' || (c >= '\x7f' && c <= '\x9f') ? `\\x${c.codePointAt(0).toString(16).padStart(2, '0')}` : c)).join('');
}
