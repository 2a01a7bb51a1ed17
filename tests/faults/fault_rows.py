"""The faults that the product must survive: what is done to it, and what is expected then. One row a fault."""

from __future__ import annotations

from typing import NamedTuple


class FaultRow(NamedTuple):
    """A row of the table."""

    fault: str
    expected: str


ROWS: dict[int, FaultRow] = {
    1: FaultRow("room killed (kill -9)", "the run ends by itself, its exit is known, a new room shows it within 2 s"),
    2: FaultRow("terminal closed, SIGHUP to the room's group", "room gone within 2 s, the run goes on"),
    3: FaultRow("terminal closed while SIGHUP is ignored", "room gone within 3 s"),
    4: FaultRow("tmux session or server killed", "the run ends by itself, its exit is known"),
    5: FaultRow("SIGTERM to the room", "terminal restored (`?1049l`), exit code 143"),
    6: FaultRow("wrapper killed (kill -9)", "unsupervised; a second start refused; then how it ended, or lost"),
    7: FaultRow("engine killed, crashed, exit code, exception", "kind and code exact, the exception's line kept"),
    8: FaultRow("killed by the kernel for memory", "out of memory"),
    9: FaultRow("MemoryError", "out of memory, with the exception's line"),
    10: FaultRow("no such program, not executable", "never started, 127 and 126"),
    11: FaultRow("TERM obeyed or ignored; children that ignore it or have left", "no process of the group left"),
    12: FaultRow("process id used again", "never signalled"),
    13: FaultRow("reboot", "lost: reboot"),
    14: FaultRow("24 terminals launch at one instant", "one launch"),
    15: FaultRow("two rooms and the autopilot decide on the same restart", "one restart; the others are told"),
    16: FaultRow("every engine that the autopilot starts crashes at once", "it stops within its limit and says so"),
    17: FaultRow("kill -9 while a checkpoint of 30 MB is saved", "the newest verified checkpoint loads"),
    18: FaultRow("disk full: events, log, exit, checkpoint, journal", "old checkpoint whole, no rubbish, room alive"),
    19: FaultRow("no inodes left; remounted read-only", "as a full disk"),
    20: FaultRow("short write at the edge of a full disk", "only the torn record is lost, the next is whole"),
    21: FaultRow("flipped bit in a checkpoint, index or array", "refused by sha256, file named, an older one is taken"),
    22: FaultRow("malicious pickle in .pt, .npy, .npz", "never run, whatever the environment says"),
    23: FaultRow("npz bombs, 4 TB headers, negative shapes", "refused before anything is allocated"),
    24: FaultRow("record torn at any byte, then a restart", "no other record lost"),
    25: FaultRow("second writer on a run", "refused; if forced, the damage is shown"),
    26: FaultRow("log rotated, deleted, truncated, replaced", "room alive, every line counted"),
    27: FaultRow("not UTF-8, NUL, a line of 50 MB, progress bars", "keys answered as over a calm log, memory flat"),
    28: FaultRow("escape sequences in every text of a stranger", "no byte of them on the terminal, title unchanged"),
    29: FaultRow("markup in the same places, every cell clicked", "no crash, no action"),
    30: FaultRow("clock 3 h back or a day ahead in a run", "durations right, no false stall"),
    31: FaultRow("engine frozen (SIGSTOP)", "stalled after the set time, not killed, cleared by SIGCONT"),
    32: FaultRow("metric missing, NaN, infinite, doubled at the gate's epoch", "never passed"),
    33: FaultRow("gate's event lost", "judged once from the record, acted on once"),
    34: FaultRow("runs.toml broken, deleted, mended in a run", "old settings stay, the error is shown, runs untouched"),
    35: FaultRow("names that leave the folder", "refused, nothing written outside"),
    37: FaultRow(
        "Slurm: controller or node killed, job forgotten, squeue down, jobs doubled, scancel from outside",
        "never two engines in a folder; the state is right or unknown, never dead while something runs",
    ),
    38: FaultRow("room killed between the intent and sbatch, or after it", "found by name, not submitted again"),
    39: FaultRow("a rank killed, crashed, hung; its parent killed", "root rank and signal named, none left, lock free"),
    41: FaultRow("secrets in environment and arguments", "in no file of the runs, not on the terminal"),
    42: FaultRow("files of another user, folders open to all, planted links", "refused with the reason"),
    43: FaultRow("hostile FAISS indexes, checkpoints and heads", "opened in a child first: refused, file named"),
    44: FaultRow("too little disk for the checkpoints of a run", "refused before the first step"),
    45: FaultRow("temporaries of killed writers", "gone at the next start, those of the living kept"),
    46: FaultRow("generated settings, histories, events, arrays, weights", "one line that names the file, in time"),
    47: FaultRow("random kills of room, wrapper and engine", "one engine a folder, one ending, no checkpoint lost"),
    48: FaultRow("a room and two runs that log, crash and begin again, for long", "nothing lost, nothing left, flat"),
    55: FaultRow("kill -9 while an index in parts is built", "never searched, gone at the next build"),
    56: FaultRow("a shard missing, cut short, lengthened, damaged, swapped", "refused, shard named"),
}
