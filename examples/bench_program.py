#!/usr/bin/env python3
"""A bench program with Python's standard library alone.

It registers a scan, posts what it measures, hears pause, resume, stop and abort in the answers, and says when it has done
what it was asked. Replace `measure` and `safe`; the class `Scan` may be copied as it is.

    examples/bench_program.py http://pi.local:8080 cooldown-7 --points 600 --interval 1

The second word is the id of the scan: the same again goes on where the program or telltale ended. The environment's KEY is
an access key with the role publish, where one is needed.
"""

import argparse
import collections
import datetime
import http.client
import json
import math
import os
import sys
import time
import urllib.error
import urllib.request


class Ended(Exception):
    """Somebody wants the scan to end: `state` is what it is to be called then."""

    def __init__(self, state):
        super().__init__(state)
        self.state = state


class Refused(Exception):
    """telltale does not take this scan any further; the text says why."""


class Scan:
    """A scan that this program executes.

    Rows are kept until telltale has told that it has them, and for a while longer, as they are on its disk only within a
    second: what a power cut took there is sent again. Nothing is lost while nobody answers, up to `keep` rows.
    """

    def __init__(self, url, scan_id, name, columns, points=None, lease_s=30, start="now", keep=100_000):
        self.base = url.rstrip("/") + "/api"
        self.path = "/scans/" + scan_id
        self.rows = collections.deque(maxlen=keep)
        # The number of the next row, and how many telltale has.
        self.next = self.has = 0
        self.wish = {
            "scan_id": scan_id,
            "name": name,
            "executor": "external",
            "points_total": points,
            "columns": columns,
            "lease_s": lease_s,
            "start": start,
        }

    def begin(self):
        """Registers the scan and waits, where it is not to begin at once; raises Ended when it is not to begin at all."""
        # 201: a new scan. 200: it is there already and goes on.
        answer = self._insist("/scans", self.wish)
        last = answer.get("last_index", {}).get("main")
        self.has = 0 if last is None else last + 1
        self.next = max(self.next, self.has)
        if answer["status"] == "queued":
            self._obey(self._hear())
        elif answer["status"] == "paused":
            self._obey("pause")

    def row(self, data, **more):
        """Posts one row. Waits while the scan is paused; raises Ended when it is to end."""
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03}Z"
        self.rows.append({"sequence_index": self.next, "data": data, "timestamp": stamp, **more})
        self.next += 1
        # It is no fault when nobody answers: the rows are here, and go with the next ones.
        self._obey(self._send())

    def say(self, state, message=None):
        """Says what this program really does now: running, paused, completed, aborted or failed."""
        while state in ("completed", "aborted", "failed") and self.has < self.next:
            self._send()
            if self.has < self.next:
                time.sleep(0.2)
        self._insist(self.path + "/control", {"state": state, "message": message})

    def _obey(self, asked):
        while asked in ("start", "resume", "pause"):
            self.say("paused" if asked == "pause" else "running")
            asked = self._hear() if asked == "pause" else None
        if asked in ("stop", "abort"):
            raise Ended("completed" if asked == "stop" else "aborted")

    def _hear(self):
        """Waits until something is asked of this program."""
        while True:
            asked = self._insist(self.path + "/control?wait=25")["pending"]
            if asked:
                return asked

    def _send(self):
        """Posts the rows that telltale does not have, some 5,000 at most; gives what it wants of this program."""
        waiting = [row for row in self.rows if row["sequence_index"] >= self.has][:5000]
        if not waiting:
            return None
        lines = "\n".join(json.dumps(row, allow_nan=False) for row in waiting)
        status, answer = self._ask(self.path + "/data", lines.encode())
        if status == 409 and answer.get("type") == "gap":
            # It was switched off before the last rows were on its disk: they are sent again.
            self.has = answer["expected"]
            if not self.rows or self.has < self.rows[0]["sequence_index"]:
                raise Refused(f"rows from {self.has} on are missing there and not here any more")
        elif 200 <= status < 300:
            self.has = answer["last_index"] + 1
            return answer["control"]["pending"]
        elif not _away(status):
            raise Refused(answer.get("detail", status))
        return None

    def _insist(self, path, wish=None):
        """One request, until somebody answers: telltale may be away, or busy."""
        body = None if wish is None else json.dumps(wish).encode()
        while True:
            status, answer = self._ask(path, body)
            if 200 <= status < 300:
                return answer
            if not _away(status):
                raise Refused(answer.get("detail", status))
            time.sleep(1)

    def _ask(self, path, body=None):
        """One request: the status (0: nobody answered) and the answer."""
        request = urllib.request.Request(self.base + path, data=body)
        if os.environ.get("KEY"):
            request.add_header("Authorization", "Bearer " + os.environ["KEY"])
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as e:
            with e:
                try:
                    return e.code, json.load(e)
                except ValueError:
                    return e.code, {}
        except (OSError, http.client.HTTPException, ValueError):
            return 0, {}


def _away(status):
    return status == 0 or status == 429 or status >= 500


def measure(n):
    """One row's data. Here: a cold head that approaches 4 K."""
    return {"T": round(4 + 296 * math.exp(-n / 40), 3), "heater": n % 2}


def safe():
    """Outputs off, valves shut: whatever has to be so when this program no longer looks after it."""
    print("everything is off")


def main():
    words = argparse.ArgumentParser(description="A bench program for telltale.")
    words.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
    words.add_argument("scan", nargs="?", default=time.strftime("bench-%Y%m%d-%H%M%S", time.gmtime()))
    words.add_argument("--points", type=int, help="how many; without it, for ever")
    words.add_argument("--interval", type=float, default=1.0, help="seconds between two points")
    words.add_argument("--lease", type=float, default=30, help="seconds it may be silent")
    words.add_argument("--start", choices=["now", "wait"], default="now", help="wait: somebody starts it on the page")
    said = words.parse_args()
    columns = [
        {"name": "T", "unit": "K", "role": "measured"},
        {"name": "heater", "unit": "1", "dtype": "integer", "role": "readback"},
    ]
    scan = Scan(said.url, said.scan, "Cooldown", columns, said.points, said.lease, said.start)
    try:
        try:
            scan.begin()
            print(f"{said.url}/api/scans/{said.scan}", flush=True)
            while said.points is None or scan.next < said.points:
                scan.row(measure(scan.next))
                time.sleep(said.interval)
            state = "completed"
        except Ended as e:
            state = e.state
        except KeyboardInterrupt:
            state = "aborted"
        safe()
        scan.say(state)
        print(state, flush=True)
    except Refused as e:
        safe()
        sys.exit(f"{said.scan}: {e}")


if __name__ == "__main__":
    main()
