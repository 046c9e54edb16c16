"""Pseudo-terminals for devices that are programs: one end has a name of its own, as under /dev/serial/by-id."""

import os
import select
import sys
import threading
import tty


def device(link):
    """The device's own end of a new terminal whose other end appears as `link`."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    appear(os.ttyname(theirs), link)
    # Held open, so that a daemon that closes its end does not end ours.
    return ours, theirs


def pair(link):
    """Two terminals joined by a thread: one appears as `link`, the path of the other is returned."""
    ours, _ = device(link)
    inner, theirs = os.openpty()
    tty.setraw(theirs)

    def pump():
        while True:
            for ready in select.select([ours, inner], [], [])[0]:
                data = os.read(ready, 4096)
                os.write(inner if ready == ours else ours, data)

    threading.Thread(target=pump, daemon=True).start()
    return os.ttyname(theirs)


def appear(path, link):
    if os.path.lexists(link):
        os.unlink(link)
    os.symlink(path, link)


def serve_until_stdin_ends():
    """Says that all is ready; ends the process when whoever started it has gone or closes our standard input."""
    print("ready", flush=True)

    def wait():
        while sys.stdin.buffer.read(4096):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
