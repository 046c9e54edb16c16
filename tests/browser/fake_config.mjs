// The configuration interface of the daemon, as far as the page needs it, between the browser and the daemon: for what
// a real file can't be made to do on command. Keeps one text, checks revisions, knows faults by line.

const KEYS = [
  ['', 'General', [
    { key: 'name', kind: 'text', type: 'text', default: '"telltale"', doc: "Name of this box, shown in the page's header and title.", live: true },
    { key: 'listen', kind: 'text', type: 'address:port', default: '"127.0.0.1:8080"', doc: 'Address and port to serve on.', live: false },
    { key: 'bench', kind: 'switch', type: 'true or false', default: 'false', doc: 'Run the simulated bench.', live: false },
  ]],
  ['http', 'Web server', [
    { key: 'http.connections', kind: 'number', type: 'whole number, 4 to 16384', default: '256', doc: 'Connections that may have a thread at one time.', live: false },
    { key: 'http.origins', kind: 'list', type: 'list of texts', default: '[]', doc: 'Origins of other pages that may read.', live: true },
  ]],
  ['store', 'Store', [
    { key: 'store.keep', kind: 'size', type: 'size, 1 MiB to 1 TiB', default: '"1GiB"', doc: 'Records kept, in bytes; the oldest go first.', live: true },
    { key: 'store.keep_age', kind: 'duration', type: 'duration, 1m to 36525d, or never', default: '"never"', doc: 'Age at which records go.', live: true },
    { key: 'store.level', kind: 'choice', type: 'low, high', choices: ['low', 'high'], default: '"low"', doc: 'A choice.', live: true },
  ]],
];

const TEXT = `# The van
name = "van 3"

[store]
keep = "2GB" # the card is small

[http]
origins = ["https://panel.example"]

[[gpio]]
id = "tape"
pin = 17

[[gpio]]
id = "door"
pin = 27
`;

const GPIO = /\[\[gpio\]\]\n(?:(?!\[).*\n)*/g;

/** Answers `api/config` of every page of `context`; gives what was sent, and the ways to disturb. */
export async function fake_config(context, { role_text = true, writable = true, path = '/etc/telltale/telltale.toml' } = {}) {
  const it = { text: TEXT, revision: 1, sent: [], offline: false };
  const value = (key) => {
    const [section, name] = key.includes('.') ? key.split('.') : ['', key];
    let inside = '';
    for (const line of it.text.split('\n')) {
      const head = /^\[+(\w+)\]+/.exec(line);
      if (head) inside = head[1];
      const found = new RegExp(`^${name} = ([^#]*)`).exec(line);
      if (found && inside === section) return found[1].trim();
    }
    return null;
  };
  const body = () => ({
    path, writable, revision: `r${it.revision}`, text: role_text ? it.text : null, errors: [],
    sections: KEYS.map(([name, title, keys]) => ({ name: name || 'general', title, keys: keys.map((k) => ({ ...k, value: value(k.key) ?? k.default })) })),
    lists: [{ name: 'gpio', title: 'Pins', keys: [{ key: 'pin', type: 'whole number', default: 'required', doc: 'Number of the pin.' }],
      items: (it.text.match(GPIO) ?? []).map((text) => ({ id: /id = "(.*)"/.exec(text)?.[1] ?? '?', text: text.trimEnd() })) }],
  });
  const faults = (text) => text.split('\n').flatMap((line, i) => (line.includes('nonsense') ? [{ line: i + 1, column: 1, detail: 'unknown key `nonsense`' }] : []));
  const problem = (route, status, more) => route.fulfill({ status, contentType: 'application/problem+json', body: JSON.stringify({ status, title: 'no', ...more }) });

  /** A change by somebody else. */
  it.elsewhere = (change) => {
    it.text = change(it.text);
    it.revision += 1;
  };

  await context.route(/\/api\/config(\?|$)/, async (route) => {
    const request = route.request();
    if (it.offline) return route.abort();
    if (request.method() === 'GET') return route.fulfill({ status: 200, contentType: 'application/json', body: JSON.stringify(body()) });
    const put = request.postDataJSON();
    it.sent.push({ ...put, check: request.url().includes('check=true') });
    if (put.if_revision !== `r${it.revision}`) return problem(route, 409, { type: 'revision', detail: 'the file was changed elsewhere' });
    if (put.set?.['store.keep'] === '12') return problem(route, 422, { type: 'invalid', detail: 'one fault', errors: [{ line: 5, column: 8, detail: '`store.keep` is "12"; expected a size' }] });
    if (typeof put.text === 'string') {
      const errors = faults(put.text);
      if (errors.length) return problem(route, 422, { type: 'invalid', detail: `${errors.length} faults`, errors });
      if (!it.sent.at(-1).check) it.elsewhere(() => put.text);
    } else {
      for (const [key, to] of Object.entries(put.set ?? {})) {
        const name = key.split('.').at(-1);
        it.text = new RegExp(`^${name} = .*`, 'm').test(it.text) ? it.text.replace(new RegExp(`^${name} = "?[^"#\\n]*"?`, 'm'), `${name} = "${to}"`) : it.text.replace(/^/, `${name} = "${to}"\n`);
      }
      for (const key of put.unset ?? []) it.text = it.text.replace(new RegExp(`^${key.split('.').at(-1)} = .*\\n`, 'm'), '');
      it.revision += 1;
    }
    return route.fulfill({ status: 200, contentType: 'application/json', body: JSON.stringify({ revision: `r${it.revision}`, applied: ['store'], needs_restart: 'listen' in (put.set ?? {}) ? ['listen'] : [] }) });
  });
  return it;
}
