"""What emulate and qemu-user share: a list of checks, and a client that reads the stream as a browser does."""

import http.client
import json
import threading
import time

BOARDS = {
    "aarch64": "aarch64-unknown-linux-gnu",
    "armv7": "armv7-unknown-linux-gnueabihf",
    "armv6": "arm-unknown-linux-musleabihf",
}


class Checks:
    """Prints each check as it is made; `summary` gives the exit code."""

    def __init__(self):
        self.start = time.monotonic()
        self.passed = self.failed = 0

    def note(self, text):
        print(f"[{time.monotonic() - self.start:6.1f} s] {text}", flush=True)

    def check(self, what, ok, seen=""):
        self.passed, self.failed = self.passed + bool(ok), self.failed + (not ok)
        self.note(f"{'ok    ' if ok else 'FAILED'} {what}{f': {seen}' if seen != '' else ''}")
        return bool(ok)

    def summary(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


def until(check, patience):
    """Repeats `check` until it gives something true, at most `patience` seconds; gives that, or None."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.05)
    return None


def request(port, path, body=None, patience=10):
    """One request to the daemon; gives the status and the body, or (0, why) where there was no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        connection.request("GET" if body is None else "POST", path, body, {"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


class Stream:
    """A reader of `GET /api/events`: keeps every frame it was sent, with its id, until it is closed."""

    def __init__(self, port, query, last_event_id=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        self.connection.request("GET", f"/api/events?{query}", headers=headers)
        self.answer = self.connection.getresponse()
        self.frames, self.grown, self.ended = [], threading.Condition(), False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        frame = {}
        try:
            for line in self.answer:
                line = line.decode().rstrip("\r\n")
                name, _, value = line.partition(":")
                if line:
                    frame[name] = value.removeprefix(" ")
                elif "data" in frame:
                    frame["data"] = json.loads(frame["data"])
                    with self.grown:
                        self.frames.append(frame)
                        self.grown.notify_all()
                    frame = {}
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass  # the daemon was killed, or close() took the socket away
        with self.grown:
            self.ended = True
            self.grown.notify_all()

    def of(self, event, start=0):
        """The frames of one event type, from the `start`th frame on."""
        with self.grown:
            return [f for f in self.frames[start:] if f.get("event") == event]

    def records(self):
        """Id and data of every frame that has been published, in the order they came."""
        control = ("hello", "heartbeat", "snapshot", "gap", "bye")
        with self.grown:
            return [(f.get("id"), f["data"]) for f in self.frames if f.get("event") not in control]

    def count(self):
        with self.grown:
            return len(self.frames)

    def wait(self, wanted, patience=20, start=0):
        """The first frame from the `start`th on that `wanted` accepts; None when there is none in time."""
        end = time.monotonic() + patience
        with self.grown:
            while True:
                for frame in self.frames[start:]:
                    if wanted(frame):
                        return frame
                start = len(self.frames)
                left = end - time.monotonic()
                if self.ended or left <= 0:
                    return None
                self.grown.wait(left)

    def wait_event(self, event, patience=20, start=0, **members):
        """The first event of this type whose payload has these members (of a `reading`: whose data has them)."""

        def wanted(frame):
            if frame.get("event") != event:
                return False
            payload = frame["data"]["payload"]
            found = payload.get("data", payload)
            return all(found.get(name) == value for name, value in members.items())

        return self.wait(wanted, patience, start)

    def close(self):
        self.connection.close()
