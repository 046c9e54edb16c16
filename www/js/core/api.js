// Requests to the daemon: the only module that calls fetch. Every request ends, by an answer or by its time limit;
// answers that are not 2xx come as ApiError with the daemon's own sentence.

/** The page's root, so that it also works below a path of a reverse proxy. */
export const ROOT = new URL('../../', import.meta.url);

const LIMIT_MS = 8_000;

/** Why a request did not work. `status` is 0 when nothing came back (`code` is then `timeout` or `network`). */
export class ApiError extends Error {
  constructor(message, { status = 0, code = '', problem = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.problem = problem;
  }
}

/** The address of `path` (such as `api/state`) with its query; parameters that are null are left out. */
export function address(path, query = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') url.searchParams.set(name, value);
  }
  return url.href;
}

/** GET: {status, body, date_ms}. `date_ms` is the daemon's clock to the second, or null. */
export function read(path, { query, limit_ms, signal } = {}) {
  return send('GET', path, { query, limit_ms, signal });
}

/** A file of the page as text. */
export async function read_text(path) {
  const response = await fetch(address(path));
  if (!response.ok) throw new ApiError(`${response.status}`, { status: response.status });
  return response.text();
}

/** POST of a JSON body. */
export function post(path, body, { limit_ms, signal } = {}) {
  return send('POST', path, { body, limit_ms, signal });
}

/** Any other method, such as PATCH and DELETE; `body` may be undefined. */
export function request(method, path, body, { limit_ms, signal } = {}) {
  return send(method, path, { body, limit_ms, signal });
}

async function send(method, path, { query, body, limit_ms = LIMIT_MS, signal } = {}) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort('timeout'), limit_ms);
  const cancel = () => abort.abort('cancelled');
  signal?.addEventListener('abort', cancel);
  if (signal?.aborted) cancel();
  try {
    const response = await fetch(address(path, query), {
      method,
      signal: abort.signal,
      credentials: 'same-origin',
      cache: 'no-store',
      headers: { accept: 'application/json', ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    const answer = parse(text);
    if (!response.ok) {
      const said = answer?.detail || answer?.title || `${response.status} ${response.statusText}`.trim();
      throw new ApiError(said, { status: response.status, code: answer?.type ?? '', problem: answer });
    }
    const date_ms = Date.parse(response.headers.get('date') ?? '');
    return { status: response.status, body: answer, date_ms: Number.isNaN(date_ms) ? null : date_ms };
  } catch (error) {
    if (error instanceof ApiError) throw error;
    const code = abort.signal.aborted ? String(abort.signal.reason) : 'network';
    throw new ApiError(code, { code });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', cancel);
  }
}

/**
 * GET of lines of JSON that come over time: `line(object)` for each, until the answer ends or `signal` aborts (which is
 * no error). Only the beginning has a time limit.
 */
export async function read_lines(path, { query, line, signal, limit_ms = LIMIT_MS }) {
  const abort = new AbortController();
  const cancel = () => abort.abort('cancelled');
  signal.addEventListener('abort', cancel);
  if (signal.aborted) cancel();
  const timer = setTimeout(() => abort.abort('timeout'), limit_ms);
  try {
    const response = await fetch(address(path, query), { signal: abort.signal, credentials: 'same-origin', cache: 'no-store', headers: { accept: 'application/x-ndjson' } });
    clearTimeout(timer);
    if (!response.ok) {
      const problem = parse(await response.text());
      throw new ApiError(problem?.detail ?? `${response.status}`, { status: response.status, code: problem?.type ?? '', problem });
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split('\n');
      rest = lines.pop();
      for (const text of lines) {
        const said = text.trim() ? parse(text) : null;
        if (said) line(said);
      }
    }
  } catch (error) {
    if (signal.aborted) return;
    throw error instanceof ApiError ? error : new ApiError(String(abort.signal.reason ?? 'network'), { code: abort.signal.aborted ? 'timeout' : 'network' });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', cancel);
  }
}

function parse(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

/** A random id for commands; `crypto.randomUUID` does not exist on plain http. */
export function random_id(prefix = 'c') {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return `${prefix}-${Array.from(bytes, (b) => b.toString(36).padStart(2, '0')).join('')}`;
}
