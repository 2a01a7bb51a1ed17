"""The fake engine, with figures that depend on the patch of the run: what a probe finds is known beforehand.

`values.json` beside it names, for each patched key ("" for the run itself), val_cosine by epoch and R@5; a key without
values cannot be trained. PROBE_EPOCH_S is the time of an epoch; with PROBE_HOLD set it goes on until it is stopped.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import msgspec

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from recorded_report import eval_report  # noqa: E402

from engine.run.directory import RunDirectory  # noqa: E402
from engine.run.evals import Interval, Intervals  # noqa: E402
from engine.run.files import write_atomically  # noqa: E402

HALF_WIDTH = 0.03
"""Of the interval of R@5."""


def main() -> int:
    """Hand the training over to the fake engine; evaluate by the table."""
    values_file, verb, *arguments = sys.argv[1:]
    option = "--run-dir" if verb == "train" else "--checkpoint"
    path = Path(arguments[arguments.index(option) + 1])
    run = RunDirectory(path if verb == "train" else path.parent.parent)
    spec = run.read_spec()
    table = json.loads(Path(values_file).read_text())
    values, r5 = table[next(iter(spec.patch), "")]
    if verb == "train":
        run.checkpoints.mkdir(exist_ok=True)
        if not values:
            sys.exit("no such model")
        options = ["--values", ",".join(map(str, values)), "--epoch-s", os.environ.get("PROBE_EPOCH_S", "0.05")]
        epochs = "10000" if os.environ.get("PROBE_HOLD") else str(spec.config.epochs)
        fake = [sys.executable, str(TESTS / "fake_engine.py"), "train", *arguments, "--epochs", epochs, *options]
        os.execv(sys.executable, fake)
    report = eval_report("smoke", r5=r5)
    row = report.rows["model"]
    interval = Interval(low=r5 - HALF_WIDTH, high=r5 + HALF_WIDTH)
    row = msgspec.structs.replace(row, intervals=Intervals(contain50=interval, r5=interval, eff5=interval))
    report = msgspec.structs.replace(report, rows={**report.rows, "model": row})
    write_atomically(Path(arguments[arguments.index("--out") + 1]), msgspec.json.encode(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
