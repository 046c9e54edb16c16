"""Starts the devices of examples/field-lab.toml and telltale with it; started by examples/field-lab.sh."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LAB = Path("target/field-lab")
LAB.joinpath("pi").mkdir(parents=True, exist_ok=True)


def start(script, argument):
    """A device; it ends when we do, as its standard input ends then."""
    # Ctrl-C is for telltale; the devices follow.
    process = subprocess.Popen(
        [sys.executable, HERE / script, argument], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    if process.stdout.readline() != b"ready\n":
        sys.exit(f"{script} did not start")
    return process


devices = [
    start("recorder.py", LAB / "recorder"),
    start("modbus_server.py", LAB / "modbus"),
    start("scpi_device.py", LAB / "supply"),
]
environment = {name: value for name, value in os.environ.items() if name != "TELLTALE_BIN"}
if shutil.which("cc"):
    library = LAB / "fakepi.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O2", "-pthread", "-o", library, HERE.parent / "fakepi" / "fakepi.c"], check=True
    )
    environment |= {"LD_PRELOAD": str(library.resolve()), "FAKEPI_DIR": str(LAB.joinpath("pi").resolve())}
    devices.append(start("pins.py", LAB / "pi"))
else:
    print("there is no C compiler: the two pins are shown as absent")

telltale = subprocess.Popen(
    [os.environ["TELLTALE_BIN"], "run", "--config", "examples/field-lab.toml", "--data", LAB / "data", *sys.argv[1:]],
    env=environment,
)
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda *_: telltale.terminate())
code = telltale.wait()
for device in devices:
    device.stdin.close()
    device.wait()
sys.exit(code)
