// Addresses are `#/name/part/part?query`; the table of views is views/table.js. A view's module is loaded when it is
// first shown; what it subscribed to ends by its AbortSignal.

/** `#/scan/SCAN_001?x=1` -> {name, parts, query}; an empty hash is `overview`. */
export function parse(hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split('?');
  const [name, ...parts] = path.split('/').filter(Boolean).map(safe_decode);
  return { name: name ?? 'overview', parts, query: new URLSearchParams(query) };
}

function safe_decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export class Router {
  /** `show({name, view, error})` is told of every change; `view` is what a module's `open` gave, null while loading. */
  constructor({ table, app, show }) {
    this.table = table;
    this.app = app;
    this.show = show;
    this.leaving = null;
    this.shown = 0;
  }

  start() {
    addEventListener('hashchange', () => this.go());
    return this.go();
  }

  async go() {
    const route = parse(location.hash);
    const row = this.table.find((r) => r.name === route.name) ?? this.table[0];
    const turn = (this.shown += 1);
    this.leaving?.abort();
    const leaving = (this.leaving = new AbortController());
    this.show({ name: row.name, view: null, error: null });
    try {
      const module = await row.load();
      if (turn !== this.shown) return;
      this.show({ name: row.name, view: module.open(this.app, route, leaving.signal), error: null });
    } catch (error) {
      if (turn === this.shown) this.show({ name: row.name, view: null, error });
    }
  }
}
