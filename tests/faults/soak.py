"""A room on a real terminal over two runs that log, crash, stop and begin again: what it costs, and what it leaves.

`make soak` takes ten minutes, `SOAK_MINUTES=3 make soak` three. Every figure is printed and judged; the exit code is 1
where one misses its bar. Once a minute another room is opened and killed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(TOP / "tests"), str(TOP)]

from fault_runs import FAKE_ROOM, engines_in, state_of, wait_ended  # noqa: E402
from processes import end, wait_until  # noqa: E402
from pty_room import PtyRoom  # noqa: E402
from recorded import RUNS_TOML  # noqa: E402
from soak_figures import Sample, Soak, judge  # noqa: E402

from engine.run.directory import RunDirectory, is_locked, list_runs  # noqa: E402
from engine.run.process import send  # noqa: E402

OPTIONS = ["--epochs", "30", "--epoch-s", "0.5", "--log-lines", "100", "--save-last"]
"""An epoch is ten steps: 2,000 lines a second."""
KEPT = 3
"""Runs of a table that stay in the folder; older ones are deleted, as a person tidies up."""
KEYS = ["2", "]", "3", "4", "m", "m", "5", "k", "6", "j", "7", "8", "[", "?", "?", "1", "k", "j", "f", "f"]
"""Keys that look, at every pane."""
OTHER_ROOM_S = 60.0


class Lane:
    """One table of runs.toml: a run after another, each with some fate."""

    def __init__(self, place: Place, name: str, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._place, self._name, self._rng = place, name, random.Random(seed)

    def live(self, until_s: float) -> None:
        """Start runs and let them meet their fates until a time of the monotonic clock."""
        fates = cycle([self._crash, self._stop, self._lose_wrapper, self._finish])
        while time.monotonic() < until_s:
            started = self._place.tell("start", self._name)
            self.counts["launches"] += 1
            run = RunDirectory(self._place.runs_dir / started)
            next(fates)(run)
            self._tidy()

    def _crash(self, run: RunDirectory) -> None:
        self._after(run, self._rng.choice([signal.SIGKILL, signal.SIGSEGV]))
        self.counts["crashes"] += 1
        self._resume(run)
        self._stop(run)

    def _stop(self, run: RunDirectory) -> None:
        self._rest(run)
        try:
            self._place.tell("stop", run.id)
        except RuntimeError:
            assert not is_locked(run.lock_file), "only a run that came to its end by itself cannot be stopped"
        self._supervised_end(run)

    def _lose_wrapper(self, run: RunDirectory) -> None:
        self._rest(run)
        processes = run.read_life().processes
        assert processes is not None
        send(processes.wrapper, signal.SIGKILL)
        run.stop_file.touch()
        wait_ended(run)  # and nobody is there who could write how
        self._resume(run)
        self._stop(run)

    def _finish(self, run: RunDirectory) -> None:
        self._supervised_end(run)

    def _resume(self, run: RunDirectory) -> None:
        self._place.tell("resume", run.id)
        self.counts["resumes"] += 1

    def _after(self, run: RunDirectory, number: signal.Signals) -> None:
        self._rest(run)
        processes = run.read_life().processes
        assert processes is not None
        send(processes.engine, number)
        self._supervised_end(run)

    def _supervised_end(self, run: RunDirectory) -> None:
        wait_ended(run, 120.0)
        self.counts["lost exits"] += run.read_life().exit is None

    def _rest(self, run: RunDirectory) -> None:
        """Until there is a checkpoint to go on from, and some more."""
        wait_until(lambda: "last" in state_of(run).checkpoints, 120.0)
        time.sleep(self._rng.uniform(1.0, 4.0))

    def _tidy(self) -> None:
        mine = [run for run in list_runs(self._place.runs_dir) if run.id.rpartition("-")[0] == self._name]
        for run in mine[:-KEPT]:
            if not is_locked(run.lock_file):
                shutil.rmtree(run.path)


class Place:
    """Where it happens."""

    def __init__(self, top: Path) -> None:
        self.top, self.runs_dir, self.config = top, top / "runs", top / "runs.toml"
        self.config.write_text(RUNS_TOML)
        self.temporaries = top / "tmp"
        self.temporaries.mkdir()
        os.environ |= {"FAKE_ENGINE_OPTIONS": json.dumps(OPTIONS), "LVM_GRACE_S": "1", "TMPDIR": str(self.temporaries)}

    def tell(self, verb: str, *arguments: str) -> str:
        """Have the headless command do something; returns what it says."""
        where = ("--config", str(self.config), "--runs-dir", str(self.runs_dir))
        done = subprocess.run([*FAKE_ROOM, verb, *where, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{verb} {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def left(self) -> list[str]:
        """Processes that have to do with this place, and temporaries."""
        found = [path.name for path in (*self.temporaries.rglob("*"), *self.runs_dir.rglob(".*.tmp"))]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                argv = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if os.fsencode(self.top) in b" ".join(argv) and int(process.name) != os.getpid():
                found.append(b" ".join(argv[:4]).decode(errors="replace"))
        return found


def look(pid: int, began: float) -> Sample:
    """A process as it is now."""
    process = Path(f"/proc/{pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return Sample(
        t_s=time.monotonic() - began,
        rss_bytes=int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        descriptors=len(os.listdir(process / "fd")),
        cpu_s=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
    )


def soak(minutes: float) -> Soak:
    """Do it, and clear up."""
    top = Path(tempfile.mkdtemp(prefix="lvm-soak-"))
    place = Place(top)
    lanes = [Lane(place, name, seed) for seed, name in enumerate(("mamba_s", "amn"))]
    samples: list[Sample] = []
    others = doubles = 0
    room = PtyRoom(place.runs_dir, config=place.config, program=FAKE_ROOM)
    try:
        room.wait_drawn("No run yet")
        began, keys = time.monotonic(), cycle(KEYS)
        until, next_other = began + 60 * minutes, began + min(OTHER_ROOM_S, 30 * minutes)
        with ThreadPoolExecutor(len(lanes)) as pool:
            living = [pool.submit(lane.live, until) for lane in lanes]
            while not all(life.done() for life in living) and not any(
                life.done() and life.exception() for life in living
            ):
                room.read(1.0)
                room.output = room.output[-(1 << 16) :]
                room.press(next(keys))
                samples.append(look(room.pid, began))
                doubles += sum(engines_in(run) > 1 for run in list_runs(place.runs_dir))
                if next_other < time.monotonic() < until:
                    next_other += OTHER_ROOM_S
                    kill_another(place)
                    others += 1
            for life in living:
                life.result()
        room.press("\x1b")
        room.read(0.5)
        room.press("\x1b")  # out of the help, or of a pane alone
        room.read(0.5)
        room.press("q")
        leaving = time.monotonic()
        while not room.has_ended() and time.monotonic() < leaving + 10:
            pass
        room_code, counts = room.exit_code, sum((lane.counts for lane in lanes), Counter())
        left = place.left()
    finally:
        room.close()
        for run in list_runs(place.runs_dir):
            end(run)
        shutil.rmtree(top)
    return Soak(
        samples=samples,
        launches=counts["launches"],
        resumes=counts["resumes"],
        crashes=counts["crashes"],
        rooms_killed=others,
        lost_exits=counts["lost exits"],
        double_engines=doubles,
        left=left,
        exit_code=room_code,
    )


def kill_another(place: Place) -> None:
    """Open a second room on the same folder, and kill it once it has drawn."""
    other = PtyRoom(place.runs_dir, config=place.config, program=FAKE_ROOM)
    other.wait_drawn("val_cosine")
    other.close()


def main() -> int:
    """Soak for SOAK_MINUTES; returns 1 where a figure misses its bar."""
    minutes = float(os.environ.get("SOAK_MINUTES", "10"))
    soaked = soak(minutes)
    lines = judge(soaked)
    sys.stdout.write(f"{soaked.samples[-1].t_s / 60:.1f} minutes, {len(soaked.samples)} looks\n")
    for name, words, holds in lines:
        sys.stdout.write(f"{'ok    ' if holds else 'MISSED'}  {name}: {words}\n")
    return 0 if all(line.holds for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
