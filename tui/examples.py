"""Examples of every verb, shown below its help. Tests read each of them as the command line would."""

from __future__ import annotations

from collections.abc import Sequence

import click

EXAMPLES: dict[str, Sequence[tuple[str, str]]] = {
    # verb ("" for none): command, what it does
    "": (
        ("lvm-tui", "open the room"),
        ("lvm-tui --readonly --ascii", "watch only, in an old terminal"),
        ("lvm-tui start mamba_s", "start a run, print its id"),
        ("lvm-tui status --json | jq .runs", "what every run is doing"),
        ("lvm-tui triage 7 --dry-run", "what a restart would change"),
    ),
    "status": (
        ("lvm-tui status", "one line a run"),
        ("lvm-tui status --runs-dir /srv/runs --json | jq '.runs[0]'", "for a script"),
    ),
    "start": (
        ("lvm-tui start mamba_s", "train [run.mamba_s]"),
        ('lvm-tui start amn --override "a toy corpus"', "whatever the preflight finds"),
    ),
    "stop": (
        ("lvm-tui stop 7 --wait", "return when its checkpoint is saved"),
        ("lvm-tui stop mamba_s-0007 --kill", "now"),
    ),
    "resume": (("lvm-tui resume 7", "go on where it was"),),
    "triage": (
        ("lvm-tui triage 7 --dry-run", "what the recommended fix would change"),
        ("lvm-tui triage 7 --fix 2", "restart with the second fix"),
        ('lvm-tui triage 7 --override "retrieval counts"', "turn a locked knob, with a reason"),
    ),
    "eval": (
        ("lvm-tui eval 7", "smoke evaluation, and wait for it"),
        ("lvm-tui eval 7 --name full --detach", "start the full one and return"),
    ),
    "watch": (
        ("lvm-tui watch --until-idle", "tell what happens until nothing runs any more"),
        ("lvm-tui watch --auto 7 > night.log", "walk the playbook alone"),
    ),
    "report": (("lvm-tui report --out campaign", "report.md and its chart"),),
    "replay": (
        ("lvm-tui replay runs/mamba_s-0007", "an hour a minute"),
        ("lvm-tui replay runs --speed 600", "a folder of them, ten times faster"),
    ),
    "diagnose": (
        ("lvm-tui diagnose 7", "what is wrong, with the evidence"),
        ("lvm-tui diagnose --history history.json --eval smoke.json --json", "of a run that is not ours"),
    ),
    "doctor": (
        ("lvm-tui doctor", "is this machine, and are the clusters of runs.toml, fit for it"),
        ("lvm-tui doctor --no-job --json | jq .findings", "without handing a job in, for a script"),
    ),
    "journal": (("lvm-tui journal --json | jq .decisions", "every decision, for a script"),),
    "mend": (
        ("lvm-tui mend 7 --dry-run", "what is wrong, and what a remedy would change"),
        ("lvm-tui mend 7", "do it"),
    ),
    "probe": (
        ("lvm-tui probe 7", "short runs of every fix"),
        ("lvm-tui probe 7 --json | jq .recommendation", "the verdict alone"),
    ),
    "note": (
        ("lvm-tui note 7 'lower temperature, #keep'", "its #words are tags"),
        ("lvm-tui status --filter tag:keep", "find it again"),
    ),
    "archive": (
        ("lvm-tui archive 3 4", "put them away; nothing is deleted"),
        ("lvm-tui status --filter is:archived", "what was put away"),
    ),
    "compare": (
        ("lvm-tui compare 7 9", "run 7 against run 9"),
        ("lvm-tui compare 7 8 9 --reference 7 --json", "8 and 9 against 7, for a script"),
    ),
    "scenarios": (
        ("lvm-engine scenarios --out suite --twins", "make the suite first"),
        ("lvm-tui scenarios suite --repair --markdown table.md", "repair, judge, write the table"),
    ),
    "keys": (
        ("lvm-tui keys | grep chart", "the chart's keys"),
        ("lvm-tui keys --json", "for a script"),
    ),
    "serve": (
        ("lvm-tui serve", "watch in a browser of this machine"),
        ("lvm-tui serve --port 8000 --allow-actions", "act there, too; through ssh -L 8000:127.0.0.1:8000"),
    ),
    "completion": (('eval "$(lvm-tui completion bash)"', "complete in this shell, from now on"),),
}


def add_examples(program: click.Group) -> None:
    """Show them below the help of the program and of each verb.

    Raises:
        KeyError: a verb has none.
    """
    program.epilog = _block(EXAMPLES[""])
    for name, command in program.commands.items():
        command.epilog = _block(EXAMPLES[name])


def _block(examples: Sequence[tuple[str, str]]) -> str:
    width = max(len(command) for command, _ in examples)
    return "\b\nExamples:\n" + "\n".join(f"  {command:{width}}  {what}" for command, what in examples)
