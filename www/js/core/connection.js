// The connection as the page sees it: what the tabs want merged into one stream per browser, its status, and batches
// of items (see link.js). With a SharedWorker the link lives there; without, this tab has its own and lets go of it
// half a minute after it was hidden.

import { Link } from './link.js';

const LET_GO_MS = 30_000;
const WORKER_ANSWERS_MS = 4_000;
const PING_MS = 20_000;

export class Connection {
  /** `tell.items(list)` and `tell.status(status)`; `settings` is {mode, poll_ms}. */
  constructor({ tell, settings, shared = typeof SharedWorker === 'function' }) {
    this.tell = tell;
    this.settings = settings;
    this.wishes = new Set();
    this.link = null;
    this.port = null;
    this.shared = shared;
  }

  start() {
    if (this.shared) this.join_worker();
    else this.own_link();
    document.addEventListener('visibilitychange', () => this.visibility());
    addEventListener('online', () => this.wake());
    addEventListener('pageshow', (event) => event.persisted && this.wake());
    addEventListener('pagehide', () => this.port?.postMessage({ do: 'leave' }));
  }

  /** Adds topics (and own event types) until `signal` aborts. */
  want(topics, { types = [], signal } = {}) {
    const wish = { topics, types };
    this.wishes.add(wish);
    this.changed();
    signal?.addEventListener('abort', () => {
      this.wishes.delete(wish);
      this.changed();
    });
  }

  /** {mode, poll_ms} */
  set(settings) {
    this.settings = settings;
    if (this.port) this.port.postMessage({ do: 'settings', settings });
    else this.link?.settings(settings);
  }

  /** Asks for a status with fresh counters. */
  refresh() {
    if (this.port) this.port.postMessage({ do: 'status' });
    else if (this.link) this.tell.status({ ...this.link.status(), tabs: 1 });
  }

  wake() {
    if (this.port) this.port.postMessage({ do: 'wake' });
    else this.link?.wake();
  }

  /** Opens anew, after logging in or out. */
  restart() {
    if (this.port) this.port.postMessage({ do: 'restart' });
    else this.link?.restart();
  }

  // ---- the shared worker ----

  join_worker() {
    let worker;
    try {
      worker = new SharedWorker(new URL('./shared_worker.js', import.meta.url), { type: 'module', name: 'telltale-1' });
    } catch {
      return this.own_link();
    }
    const give_up = () => {
      if (this.link) return;
      this.port = null;
      worker.port.onmessage = null;
      clearInterval(this.pinging);
      this.own_link();
    };
    const waiting = setTimeout(give_up, WORKER_ANSWERS_MS);
    worker.onerror = () => {
      clearTimeout(waiting);
      give_up();
    };
    this.port = worker.port;
    this.port.onmessage = ({ data }) => {
      clearTimeout(waiting);
      if (data.items) this.tell.items(data.items);
      if (data.status) this.tell.status(data.status);
    };
    this.port.postMessage({ do: 'join', ...this.merged(), settings: this.settings });
    this.pinging = setInterval(() => this.port.postMessage({ do: 'ping' }), PING_MS);
    addEventListener('pageshow', (event) => {
      // Back from the browser's page cache: the worker has forgotten this tab.
      if (event.persisted) this.port?.postMessage({ do: 'join', ...this.merged(), settings: this.settings });
    });
  }

  // ---- without one ----

  own_link() {
    this.link = new Link({
      tell: { items: this.tell.items, status: (status) => this.tell.status({ ...status, tabs: 1 }) },
      settings: this.settings,
      transport: 'tab',
    });
    const { topics, types } = this.merged();
    this.link.want(topics, types);
    setInterval(() => this.link.report(), 30_000);
    if (document.visibilityState === 'visible') this.link.start();
  }

  visibility() {
    clearTimeout(this.letting_go);
    if (document.visibilityState === 'visible') {
      this.link?.start();
      this.wake();
    } else if (this.link) {
      this.letting_go = setTimeout(() => this.link.stop(), LET_GO_MS);
    }
  }

  merged() {
    const wishes = [...this.wishes];
    return { topics: [...new Set(wishes.flatMap((w) => w.topics))], types: [...new Set(wishes.flatMap((w) => w.types))] };
  }

  changed() {
    clearTimeout(this.merging);
    this.merging = setTimeout(() => {
      const wanted = this.merged();
      if (this.port) this.port.postMessage({ do: 'want', ...wanted });
      else this.link?.want(wanted.topics, wanted.types);
    }, 0);
  }
}
