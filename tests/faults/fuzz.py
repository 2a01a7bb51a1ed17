"""What strangers write, fuzzed by coverage: `python fuzz.py [INPUTS]` gives every target so many inputs (`make fuzz`).

Each target runs in a process of its own, which the fuzzer ends; what broke a promise is kept in a folder that is named.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(TOP / "tests"), str(TOP)]

INPUTS = 20_000
"""For each target, unless told otherwise."""
SEED = 7
SLOWEST_S = 10
"""For one input."""


def fuzz_one(target: str, arguments: list[str]) -> None:
    """Fuzz a target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["engine.run", "tui.text", "tomli"]):
        from fuzz_targets import TARGETS
    scratch = Path(tempfile.mkdtemp(prefix="lvm-fuzz-"))
    atheris.Setup([sys.argv[0], *arguments], lambda data: TARGETS[target](data, scratch))
    atheris.Fuzz()


def fuzz_all(inputs: int) -> int:
    """Fuzz every target and say what came of it; returns 1 where a promise was broken."""
    from fuzz_targets import LONGEST, TARGETS, seeds

    failed = 0
    for target in TARGETS:
        folder = Path(tempfile.mkdtemp(prefix=f"lvm-fuzz-{target}-"))
        for number, seed in enumerate(seeds(target)):
            (folder / f"seed-{number}").write_bytes(seed)
        options = [f"-runs={inputs}", f"-seed={SEED}", f"-max_len={LONGEST[target]}", f"-timeout={SLOWEST_S}"]
        options += ["-rss_limit_mb=2048", f"-artifact_prefix={folder}/broken-", str(folder)]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, __file__, "--target", target, *options], stderr=subprocess.PIPE, text=True, check=False
        )
        covered = re.findall(r"cov: (\d+)", done.stderr)
        tried = re.search(r"Done (\d+) runs", done.stderr)
        is_whole = done.returncode == 0 and tried is not None and int(tried[1]) >= inputs
        if not is_whole:
            failed = 1
            sys.stderr.write("\n".join(done.stderr.splitlines()[-40:]) + f"\nkept in {folder}\n")
        sys.stdout.write(
            f"{target}: {int(tried[1]) if tried else 0:,} inputs in {time.monotonic() - began:.0f} s, "
            f"{covered[-1] if covered else 0} branches reached: {'no promise broken' if is_whole else 'BROKEN'}\n"
        )
        sys.stdout.flush()
    return failed


if __name__ == "__main__":
    if find_spec("atheris") is None:
        sys.exit("atheris is not installed: pip install -c constraints.txt -e '.[fuzz]', which `make fuzz` does.")
    if sys.argv[1:2] == ["--target"]:
        fuzz_one(sys.argv[2], sys.argv[3:])
    sys.exit(fuzz_all(int(sys.argv[1]) if len(sys.argv) > 1 else INPUTS))
