#!/usr/bin/env bash
# examples/field-lab.toml on any Linux machine: the recorder, the Modbus line and the supply are programs on
# pseudo-terminals, the pins those of a fake chip, the GPS a capture. Then open http://127.0.0.1:8080; Ctrl-C ends it all.
#
#   examples/field-lab.sh [options of telltale run, such as --listen :8081]
#
# Needs python3 with venv and, the first time, the network (pymodbus, pyvisa-sim); cc for the pins; and cargo, unless
# TELLTALE_BIN names a built telltale.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tests/devices/install
if [ -z "${TELLTALE_BIN:-}" ]; then
    cargo build
    TELLTALE_BIN=${CARGO_TARGET_DIR:-target}/debug/telltale
fi
export TELLTALE_BIN
exec target/devices/bin/python tests/devices/field_lab.py "$@"
