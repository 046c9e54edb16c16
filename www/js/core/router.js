// Addresses are `#/name/part/part?query`; the table of views is views/table.js. A view's module is loaded when it is
// first shown; what it subscribed to ends by its AbortSignal. A view with `move(route)` stays when only the rest changes.

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
    this.row = null;
    this.view = null;
  }

  start() {
    addEventListener('hashchange', () => this.go());
    return this.go();
  }

  async go() {
    const route = parse(location.hash);
    const row = this.table.find((r) => r.name === route.name) ?? this.table[0];
    // A page that stays takes the rest of its address itself: what plays there goes on.
    if (row === this.row && this.view?.move) return this.view.move(route);
    const turn = (this.shown += 1);
    this.row = row;
    this.view = null;
    this.leaving?.abort();
    const leaving = (this.leaving = new AbortController());
    this.show({ name: row.name, view: null, error: null });
    try {
      const module = await row.load();
      if (turn !== this.shown) return;
      this.view = module.open(this.app, route, leaving.signal);
      this.show({ name: row.name, view: this.view, error: null });
    } catch (error) {
      if (turn === this.shown) this.show({ name: row.name, view: null, error });
    }
  }
}

/** Puts what the page shows into its address, without a step in the browser's history. */
export function rewrite(hash) {
  if (location.hash !== hash) history.replaceState(null, '', hash);
}
