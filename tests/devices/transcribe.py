"""Asks the devices of tests/golden/visa what they answer, of pyvisa-sim itself, and writes the transcripts beside them.

usage: transcribe.py [FOLDER]            (with a Python that has requirements.txt)

With a folder: asks every device of the files FOLDER/*.yaml all that they say they know, and writes FOLDER/*.txt; then
`TELLTALE_TEST_VISA=FOLDER cargo test --lib visa` asks ours the same.
"""

import random
import re
import sys
from pathlib import Path

from pyvisa.rname import to_canonical_name
from pyvisa_sim.parser import get_devices, parse_file

GOLDEN = Path(__file__).parent.parent / "golden" / "visa"


def transcript(file, resource, messages):
    """What a device answers to messages, one after the other."""
    device = get_devices(file, False)[to_canonical_name(resource)]
    lines = [f"# {file.name} {resource}"]
    for message in messages:
        try:
            device.write(message.encode() + device._query_eom)
        except Exception:
            # pyvisa-sim raises in the program that asked.
            pass
        answer = b""
        while True:
            byte, _ = device.read()
            if not byte:
                break
            answer += byte
        lines.append(f"> {message}")
        end = device._response_eom
        lines += [f"< {part.decode()}" for part in answer.split(end)[:-1]]
    return lines


def numbers(chance):
    """Numbers in all the ways in which people write them."""
    number = chance.choice([0, 1, 2, 3, 5, 12, 29.999, 30, 31, 0.5, 1e-3, 123456, 2.5]) * chance.choice([1, 1, 1, -1])
    return chance.choice(
        ["{:g}", "{:.1f}", "{:.3f}", "{:d}", "{:e}", "{:+.2f}", " {}", "{}.", "{:E}", "{}_0", "{:.0%}", "0x{:x}", "x{}"]
    ), number


def written(chance):
    while True:
        form, number = numbers(chance)
        try:
            return form.format(number)
        except ValueError:
            continue


SUPPLY = [
    "*IDN?", "SPACED?", "*RST", "BRACES?", "EMPTY?", "TWICE?", "VOLT?", "CURR?", "OUTP?", "MODE?", "LOOSE?", "PAIR?",
    "NAMED?", "MASK?", "WHOLE?", "PCT?", "EXP?", "GEN?", "TEMP?", "*ESR?", "SYST:ERR?", "NONSENSE", "", "volt?",
    "VOLT?;CURR?", "VOLT?;NONSENSE;SYST:ERR?", ";", "MODE CC", "MODE CV", "MODE XX", "MODE ", "PAIR 1,x", "PAIR 2,3",
    "PAIR 1", "NAMED(7)", "NAMED(it's)", "NAMED()", "MASK 0x1f", "MASK 1f", "MASK 0xFF", "LOOSE 5", "LOOSE 5.0", "OUTP 1", "OUTP 2",
    "CH1:NAME?", "CH9:NAME?", "CH2:CLEAR", "CH1:CURR?", "CH2:CURR?", "CH3:OUTP?", "CH9:CURR 1.0", "CH2:OUTP 1", "CH2:OUTP 5",
    "CH:CURR 1.0", "EXP?;GEN?;PCT?;WHOLE?",
]
SUPPLY_SET = ["VOLT ", "CURR ", "OUTP ", "LOOSE ", "WHOLE ", "PCT ", "EXP ", "GEN ", "MASK ", "CH1:CURR ", "CH3:CURR "]
SELECTOR = ["I?", "I 1", "I 2", "I 3", "I x", "WHO?", "G?", "L?", "L left", "L 2", "G?|I 2|G?", "|", "NOPE", "G 5.0", "G 50", "G 5"]
REPLIES = ["A;B", "A", "V?", "V=9", "V=012", "V=-3", "V=1.5", "V=", "v?"]


def golden():
    # The seed is in the files' names: the same questions every time.
    for seed in (1, 2):
        chance = random.Random(seed)
        supply = [
            chance.choice(SUPPLY) if chance.random() < 0.6 else chance.choice(SUPPLY_SET) + written(chance)
            for _ in range(300)
        ]
        selector = [chance.choice(SELECTOR) for _ in range(80)]
        replies = [chance.choice(REPLIES) for _ in range(30)]
        file = GOLDEN / "supply.yaml"
        lines = transcript(file, "ASRL1::INSTR", SUPPLY + supply)
        lines += transcript(file, "ASRL2::INSTR", selector)
        lines += transcript(file, "ASRL3::INSTR", replies)
        (GOLDEN / f"supply-{seed}.txt").write_text("\n".join(lines) + "\n")


def known(file, resource, chance):
    """Messages with what a device file says: each query, each command with values that fit and that do not."""
    data = parse_file(file)
    entry = data["resources"][resource]
    device = data["devices"][entry["device"]]
    if "RANDOM" in str(device):
        return []
    parts = [(device, [None])] + [(group, group.get("ids", [None])) for group in (device.get("channels") or {}).values()]
    queries = []
    for part, ids in parts:
        for id in ids:
            asked = [dialogue["q"] for dialogue in part.get("dialogues") or []]
            properties = (part.get("properties") or {}).values()
            asked += [property["getter"]["q"] for property in properties if "getter" in property]
            queries += [query if id is None else query.replace("{ch_id}", id) for query in asked]
            for property in properties:
                if "setter" not in property:
                    continue
                specs = property.get("specs") or {}
                values = list(specs.get("valid", [])) + [specs.get("max", "1.50"), specs.get("min", "2.25"), property.get("default", "0")]
                for value in values + [written(chance) for _ in range(3)]:
                    command = property["setter"]["q"].replace("{ch_id}", id or "1")
                    queries.append(re.sub(r"\{[^}]*\}", lambda _: value.strip(), command))
                    if "getter" in property:
                        queries.append(property["getter"]["q"].replace("{ch_id}", id or "1"))
    error = device.get("error") or {}
    if isinstance(error, dict):
        queries += [one["q"] for name in ("error_queue", "status_register") for one in error.get(name, [])] * 3
    extra = [chance.choice(queries) for _ in range(200)] + ["nonsense", ""]
    return queries + extra


def of_folder(folder):
    for file in sorted(folder.glob("*.yaml")):
        lines = []
        try:
            for resource in parse_file(file)["resources"]:
                chance = random.Random(1)
                lines += transcript(file, resource, known(file, resource, chance))
        except Exception as e:
            print(f"{file.name}: pyvisa-sim does not take it: {e!r}", file=sys.stderr)
            continue
        file.with_suffix(".txt").write_text("\n".join(lines) + "\n")


if len(sys.argv) > 1:
    of_folder(Path(sys.argv[1]))
else:
    golden()
