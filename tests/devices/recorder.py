"""An audio recorder that says four times a second what it does: `STAT REC LVL -18.2 CLIP 0`.

usage: recorder.py LINK
"""

import math
import os
import sys
import time

import ptys

ours, _ = ptys.device(sys.argv[1])
ptys.serve_until_stdin_ends()
os.set_blocking(ours, False)
n = 0
while True:
    level = -24 + 10 * math.sin(n / 9) + 4 * math.sin(n / 2.3)
    # Half a minute of recording, then ten seconds of rest.
    state = "REC" if n % 160 < 120 else "IDLE"
    try:
        os.write(ours, f"STAT {state} LVL {level:.1f} CLIP {int(level > -11)}\r\n".encode())
    except BlockingIOError:
        pass  # Nobody listens.
    n += 1
    time.sleep(0.25)
