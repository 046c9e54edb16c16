"""A line of two Modbus RTU devices, served by pymodbus: an energy meter (unit 1) with the input registers of an Eastron
SDM120, and a pump controller (unit 2) with coils and holding registers.

usage: modbus_server.py LINK
"""

import asyncio
import math
import struct
import sys
import time

import ptys
from pymodbus import FramerType
from pymodbus.server import StartAsyncSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice


def measured():
    """By address: what the meter measures now. Source: Eastron SDM120 Modbus Protocol, input registers."""
    t = time.monotonic()
    volts = 230.0 + 1.5 * math.sin(t / 7)
    amps = 4.0 + math.sin(t / 3)
    return {0: volts, 6: amps, 12: volts * amps * 0.97, 30: 0.97, 70: 50.0 + 0.02 * math.sin(t / 11), 72: 1234.5 + t / 3600}


async def measure(function_code, start_address, address, count, registers, set_values):
    if function_code == 4:
        for at, value in measured().items():
            high, low = struct.unpack(">HH", struct.pack(">f", value))
            for n, word in ((at, high), (at + 1, low)):
                if 0 <= n - start_address < len(registers):
                    registers[n - start_address] = word


def registers(values):
    return [SimData(address=0, values=values, datatype=DataType.REGISTERS)]


def bits(values):
    return [SimData(address=0, values=values, datatype=DataType.BITS)]


METER = SimDevice(id=1, simdata=(bits([False] * 16), bits([False] * 16), registers([0] * 16), registers([0] * 80)), action=measure)
PUMP = SimDevice(
    id=2,
    simdata=(bits([True, False] + [False] * 14), bits([True] + [False] * 15), registers([215, 600, 0, 0]), registers([0] * 4)),
)


def silent_for_others(sending, packet):
    """On a real line nobody answers for a device that is not there."""
    return b"" if sending and packet[:1] not in (b"\x01", b"\x02") else packet


async def main():
    port = ptys.pair(sys.argv[1])
    ptys.serve_until_stdin_ends()
    await StartAsyncSerialServer(
        [METER, PUMP], framer=FramerType.RTU, port=port, baudrate=9600, trace_packet=silent_for_others
    )


asyncio.run(main())
