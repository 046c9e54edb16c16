// A proxy that breaks things on demand, between the browser and the daemon.
//   pass     forwards
//   stall    takes requests and bytes and forwards nothing: a half-open connection
//   refuse   closes every connection at once
//   busy     answers 503 to streams, forwards the rest
// kill() cuts every open connection once. `streams()` counts open streams, `requests` keeps what was asked.

import http from 'node:http';

export async function proxy(target) {
  const sockets = new Set();
  const open = new Set();
  const held = new Set();
  const it = { mode: 'pass', requests: [] };

  const is_stream = (request) => /^\/api\/events\?.*format=sse/.test(request.url);

  const server = http.createServer((request, response) => {
    it.requests.push({ method: request.method, url: request.url, at: Date.now() });
    if (it.mode === 'stall') return;
    if (it.mode === 'busy' && is_stream(request)) {
      response.writeHead(503, { 'content-type': 'application/problem+json', 'retry-after': '1' });
      return response.end('{"type":"busy","title":"Busy","status":503}');
    }
    const onward = http.request({ ...target(), method: request.method, path: request.url, headers: request.headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      response.flushHeaders();
      answer.on('data', (chunk) => {
        if (it.mode === 'stall') held.add(response);
        else if (!held.has(response)) response.write(chunk);
      });
      answer.on('end', () => { if (it.mode !== 'stall' && !held.has(response)) response.end(); });
      answer.on('error', () => response.destroy());
      if (is_stream(request)) {
        open.add(response);
        response.on('close', () => open.delete(response));
      }
    });
    onward.on('error', () => { if (it.mode !== 'stall') response.destroy(); });
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  });
  server.on('connection', (socket) => {
    if (it.mode === 'refuse') return socket.destroy();
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
  });
  await new Promise((ok) => server.listen(0, '127.0.0.1', ok));

  return Object.assign(it, {
    port: server.address().port,
    url: `http://127.0.0.1:${server.address().port}`,
    kill() { for (const socket of sockets) socket.destroy(); },
    break(mode) {
      it.mode = mode;
      if (mode === 'refuse' || mode === 'busy') it.kill();
    },
    heal() {
      it.mode = 'pass';
      // What was stalled stays dead, as a half-open connection does.
    },
    streams: () => open.size,
    posts: (pattern) => it.requests.filter((r) => r.method === 'POST' && pattern.test(r.url)),
    close() {
      it.kill();
      server.close();
    },
  });
}
