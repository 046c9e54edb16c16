"""Pulls the two pins of examples/field-lab.toml on the fake chip of tests/fakepi.

usage: pins.py FOLDER_OF_THE_FAKE_PI
"""

import socket
import sys
import time

import ptys

control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ptys.serve_until_stdin_ends()
n = 0
while True:
    # A low contact says that the recorder runs; the door is opened now and then.
    levels = {17: int(n % 40 >= 30), 27: int(n % 20 >= 17)}
    for pin, level in levels.items():
        try:
            control.sendto(f"set {pin} {level}".encode(), sys.argv[1] + "/ctl")
        except OSError:
            pass  # The daemon is not up yet, or not any more.
    n += 1
    time.sleep(1)
