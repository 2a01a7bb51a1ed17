"""The system pane: what is ahead of every run that is alive, in words."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from recorded import AMN_HISTORY, make_spec, make_view, run_events

from engine.run.events import RankFigures, RanksMeasured
from engine.run.settings import EvalConfig
from tui.control.scene import Scene
from tui.control.usage import MachineUsage
from tui.panes.system import IN_FULL, MANY_S, SystemPane

USAGE = MachineUsage(
    cpu_percent=10.0, cores=2, memory_used_bytes=1, memory_total_bytes=2, disk_free_bytes=3, processes={}
)


def rows(*values: float) -> list[str]:
    evals = {"smoke": EvalConfig(at_epoch=4), "full": EvalConfig(at_epoch=0)}
    spec = msgspec.structs.replace(make_spec(), evals=evals)
    run = make_view(spec, run_events(spec, values))
    scene = Scene(now=run.state.last_t, tick=1, views=(run,), usage=USAGE)
    return [row.plain.strip() for row in SystemPane()._rows(scene)]


def test_a_living_run_shows_its_gates_evaluations_and_end() -> None:
    assert rows(*AMN_HISTORY[:2])[-1] == (
        "gate val_cosine@2 after 2m, smoke evaluation in 2m, full evaluation in 10m, end in 10m"
    )


def test_an_evaluation_nobody_asked_for_is_due() -> None:
    assert "smoke evaluation due since epoch 4" in rows(*AMN_HISTORY)[-1]


def test_what_the_disk_still_holds_is_said_in_checkpoints() -> None:
    spec = make_spec()
    run = make_view(spec, run_events(spec, AMN_HISTORY[:2]))
    size = run.state.checkpoints["last"].bytes
    for fits, style in ((500, "$foreground-muted"), (19, "$text-warning")):
        scene = Scene(now=0.0, tick=1, views=(run,), usage=replace(USAGE, disk_free_bytes=size * fits + 1))
        (row,) = (row for row in SystemPane()._rows(scene) if "checkpoint" in row.plain)
        assert row.plain.endswith(f"the disk has room for {fits}")
        assert [str(span.style) for span in row.spans] == [style]


def rows_of_ranks(*ranks: RankFigures) -> list[str]:
    spec = make_spec()
    run = make_view(spec, [*run_events(spec, AMN_HISTORY[:2]), RanksMeasured(ranks=list(ranks))])
    scene = Scene(now=0.0, tick=1, views=(run,), usage=USAGE)
    return [row.plain.strip() for row in SystemPane()._rows(scene) if "rank" in row.plain]


def test_every_rank_tells_what_it_and_its_device_cost() -> None:
    cuda = RankFigures(
        rank=0,
        device="cuda:0",
        memory_bytes=2 << 30,
        cpu_s=180.0,
        device_used_bytes=5 << 30,
        device_total_bytes=8 << 30,
        device_percent=87.0,
    )
    silent = msgspec.structs.replace(cuda, rank=1, device="cuda:1", device_percent=None)
    assert rows_of_ranks(cuda, silent) == [
        "rank 0 on cuda:0: 5.0 GiB of 8.0 GiB, 87 % busy; process 2.0 GiB, 3m of CPU",
        "rank 1 on cuda:1: 5.0 GiB of 8.0 GiB; process 2.0 GiB, 3m of CPU",
    ]
    assert len(rows_of_ranks(cuda)) == 1


def test_ranks_without_an_accelerator_tell_of_their_processes_and_one_alone_of_nothing() -> None:
    first = RankFigures(rank=0, device="cpu", memory_bytes=1 << 30, cpu_s=12.0)
    second = msgspec.structs.replace(first, rank=1, device="cpu\x1b]0;title\x07")
    assert rows_of_ranks(first, second) == [
        "rank 0 on cpu: 1.0 GiB, 12s of CPU",
        "rank 1 on cpu: 1.0 GiB, 12s of CPU",
    ]
    assert rows_of_ranks(first) == []


def test_of_many_living_runs_the_selected_one_is_told_in_full_and_the_others_in_a_line() -> None:
    runs = []
    for number in range(1, IN_FULL + 3):
        spec = make_spec(number=number)
        runs.append(make_view(spec, run_events(spec, AMN_HISTORY[:2])))
    few = Scene(now=0.0, tick=1, views=tuple(runs[:IN_FULL]), selected=runs[1], usage=USAGE)
    many = Scene(now=0.0, tick=1, views=tuple(runs), selected=runs[2], usage=USAGE)
    told = {size: [row.plain for row in SystemPane()._rows(scene)] for size, scene in (("few", few), ("many", many))}
    assert sum("checkpoint" in row for row in told["few"]) == IN_FULL
    assert sum("checkpoint" in row for row in told["many"]) == 1
    assert told["many"][1].startswith("mamba_s-0003"), "first, so that it is in sight"
    assert all(any(row.startswith(run.id) for row in told["many"]) for run in runs)


def test_the_figures_of_many_runs_move_less_often() -> None:
    def moves(count: int, usage: MachineUsage | None, later_s: float) -> bool:
        runs = []
        for number in range(1, count + 1):
            spec = make_spec(number=number)
            runs.append(make_view(spec, run_events(spec, AMN_HISTORY[:2])))
        first = Scene(now=6000.0, tick=1, views=tuple(runs), selected=runs[0], usage=USAGE)
        return SystemPane().depends_on(first) != SystemPane().depends_on(
            replace(first, now=6000 + later_s, usage=usage)
        )

    other = replace(USAGE, cpu_percent=11.0)
    assert moves(IN_FULL, other, 2.0)
    assert not moves(IN_FULL + 1, other, 2.0)
    assert moves(IN_FULL + 1, other, MANY_S)
    assert moves(IN_FULL + 1, None, 2.0)
