#!/usr/bin/env python3
"""Makes numpy.json: samples and what numpy says of the window before each. Run it with numpy installed."""
import json
import numpy as np

WINDOW, THRESHOLD = 50, 4.5
rng = np.random.default_rng(20260107)
value = 20 + 3 * np.sin(np.arange(1000) / 40) + rng.normal(0, 0.4, 1000) + 1e6
value[rng.integers(60, 1000, 8)] += rng.choice([-6.0, 6.0], 8)
value = np.round(value, 6)
rows = {"window": WINDOW, "threshold": THRESHOLD, "value": value.tolist(), "mean": [], "std": [], "z": []}
for n in range(len(value)):
    if n < WINDOW:
        mean = std = z = None
    else:
        before = value[n - WINDOW:n]
        mean, std = float(np.mean(before)), float(np.std(before))
        z = (float(value[n]) - mean) / std if std > 0 else None
    for name, number in (("mean", mean), ("std", std), ("z", z)):
        rows[name].append(number)
with open(__file__.replace("make.py", "numpy.json"), "w", encoding="ascii") as file:
    json.dump(rows, file, separators=(",", ":"))
