"""An exchange's other side: a WebSocket (package websockets) that gives trades, and REST beside it, told what to do by lines.

    feed.py PORTS        writes {"ws": port, "rest": port} to the file PORTS, then prints `ready`

With cert.pem and key.pem beside PORTS both ports speak TLS. What is posted to `rest` is written to posted.ndjson beside PORTS.

Lines on standard input:
    play FILE MS         every line of FILE, so many milliseconds apart
    rate TICKS SECONDS   numbered trades, so many a second: p is the number from 0, T is now
    garbage N            N messages that are no trades, of six kinds
    stall                nothing more is sent, connections stay
    kill                 ends every connection without a close, and takes no new one until `back`
    back                 takes connections again
    rest PRICE | rest no what REST answers; `no` is an error
Ends with its standard input.
"""

import asyncio
import json
import os
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from websockets.asyncio.server import serve

price = None


class Rest(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"symbol": "BTCUSDT", "price": price}).encode() if price else b"{}"
        self.send_response(200 if price else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open(os.path.join(os.path.dirname(sys.argv[1]), "posted.ndjson"), "a") as file:
            file.write(json.dumps(body) + "\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


GARBAGE = [
    "{",
    "",
    b"\x00\xff\xfe",
    '{"e":"trade","s":"BTCUSDT","p":"much","T":1}',
    '{"e":"trade","s":"BTCUSDT","p":null,"T":1}',
    '{"e":"trade","s":"BTCUSDT","p":"NaN","T":1}',
]


class Exchange:
    def __init__(self):
        self.open = set()
        self.task = None
        self.taking = True

    async def client(self, socket):
        if not self.taking:
            socket.transport.abort()
            return
        await socket.recv()
        self.open.add(socket)
        try:
            async for _ in socket:
                pass
        except Exception:
            pass
        finally:
            self.open.discard(socket)

    async def all(self, message):
        for socket in list(self.open):
            try:
                await socket.send(message)
            except Exception:
                self.open.discard(socket)

    async def play(self, path, ms):
        with open(path) as lines:
            for line in lines:
                await self.all(line.strip())
                await asyncio.sleep(ms / 1000)

    async def rate(self, ticks, seconds):
        begun = time.monotonic()
        for n in range(ticks * seconds):
            trade = {"e": "trade", "s": "BTCUSDT", "p": str(n), "T": int(time.time() * 1000)}
            await self.all(json.dumps(trade, separators=(",", ":")))
            late = begun + (n + 1) / ticks - time.monotonic()
            if late > 0:
                await asyncio.sleep(late)

    async def garbage(self, n):
        for k in range(n):
            await self.all(GARBAGE[k % len(GARBAGE)])

    async def told(self, words):
        global price
        if words[0] in ("play", "rate", "garbage", "stall", "kill") and self.task:
            self.task.cancel()
            self.task = None
        if words[0] == "play":
            self.task = asyncio.create_task(self.play(words[1], float(words[2])))
        elif words[0] == "rate":
            self.task = asyncio.create_task(self.rate(int(words[1]), int(words[2])))
        elif words[0] == "garbage":
            await self.garbage(int(words[1]))
        elif words[0] == "kill":
            self.taking = False
            for socket in list(self.open):
                socket.transport.abort()
        elif words[0] == "back":
            self.taking = True
        elif words[0] == "rest":
            price = None if words[1] == "no" else words[1]


async def main(ports):
    exchange = Exchange()
    rest = ThreadingHTTPServer(("127.0.0.1", 0), Rest)
    tls = None
    certificate = os.path.join(os.path.dirname(ports), "cert.pem")
    if os.path.exists(certificate):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, os.path.join(os.path.dirname(ports), "key.pem"))
        rest.socket = tls.wrap_socket(rest.socket, server_side=True, do_handshake_on_connect=False)
    Thread(target=rest.serve_forever, daemon=True).start()
    async with serve(exchange.client, "127.0.0.1", 0, compression=None, ssl=tls) as server:
        port = list(server.sockets)[0].getsockname()[1]
        with open(ports + ".new", "w") as file:
            json.dump({"ws": port, "rest": rest.server_address[1]}, file)
        os.rename(ports + ".new", ports)
        print("ready", flush=True)
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := (await reader.readline()).decode().split():
            await exchange.told(line)
    os._exit(0)


asyncio.run(main(sys.argv[1]))
