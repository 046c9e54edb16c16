"""A bench supply that speaks SCPI: pyvisa-sim plays supply.yaml; what it measures follows what it is set to.

usage: scpi_device.py LINK
"""

import os
import random
import sys
from pathlib import Path

import ptys
from pyvisa_sim.parser import get_devices

LOAD_OHM = 22.0

supply = get_devices(Path(__file__).with_name("supply.yaml"), False)["ASRL1::INSTR"]


def ask(line):
    """What the simulated device answers, without the line end; nothing for a command."""
    supply.write(line + b"\n")
    answer = b""
    while True:
        byte, end = supply.read()
        answer += byte
        if end or not byte:
            return answer.rstrip(b"\r\n")


def answer(line):
    if line in (b"MEAS:VOLT?", b"MEAS:CURR?"):
        on = ask(b"OUTP?") == b"1"
        volts = float(ask(b"VOLT?")) * on + random.gauss(0, 0.0005)
        amps = min(volts / LOAD_OHM, float(ask(b"CURR?")))
        return f"{volts if line == b'MEAS:VOLT?' else amps:+.6E}".encode()
    return ask(line)


ours, _ = ptys.device(sys.argv[1])
ptys.serve_until_stdin_ends()
heard = b""
while True:
    heard += os.read(ours, 4096)
    *lines, heard = heard.split(b"\n")
    for line in lines:
        said = answer(line.strip())
        if said:
            os.write(ours, said + b"\r\n")
