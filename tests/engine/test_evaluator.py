"""Evaluations of planted predictors, and the `evaluate` verb."""

from __future__ import annotations

from dataclasses import replace as replace_field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from engine.data.split import Split, split_windows
from engine.data.windows import CorpusWindows
from engine.evaluation import baselines
from engine.evaluation.baselines import Payload
from engine.evaluation.evaluator import Evaluation, eval_line, evaluate, sample_queries
from engine.evaluation.metrics import latency_percentiles
from engine.evaluation.retrieval import open_index
from engine.evaluation.text import render
from engine.models.registry import build_head, build_model
from engine.run.convert import ConfigError
from engine.run.evals import Miss, read_report
from engine.run.settings import DataConfig, EvalConfig, ModelConfig, RunConfig
from engine.training.checkpoint import CheckpointMeta, save_checkpoint
from engine.verbs.evaluate import command
from tests.reference.plain_retrieval import rank_of_truth, share_within
from tests.reference.small_corpus import make_corpus

LENGTHS = [7, 9, 8, 12, 10, 11, 9, 14] * 5
CONTEXT = 3
EASY = EvalConfig(limit=0, nprobe=64, contain50=0.5, r5=0.5, eff5=0.5, p95_ms=10_000.0)


@pytest.fixture
def source(tmp_path: Path) -> CorpusWindows:
    return CorpusWindows(make_corpus(tmp_path / "corpus", LENGTHS), CONTEXT)


def halves(source: CorpusWindows) -> Split:
    return split_windows(source, val_share=0.1, test_share=0.3, seed=0)


def measure(source: CorpusWindows, predict: Any, config: EvalConfig = EASY, cache: Path | None = None) -> Evaluation:
    vectors = source.corpus.all_vectors()
    payload = Payload(vectors, open_index(source.corpus, vectors, None), config.nprobe)
    return evaluate(source, halves(source), predict, payload=payload, config=config, threads=1, cache=cache)


def truth_teller(source: CorpusWindows) -> Any:
    """Predicts the target, which it looks up by the context."""
    contexts, targets = source.gather(np.arange(source.num_windows))
    known = {context.tobytes(): target for context, target in zip(contexts, targets, strict=True)}
    return lambda asked: np.stack([known[np.ascontiguousarray(context).tobytes()] for context in asked])


def context_mean(contexts: Any) -> Any:
    return contexts.mean(axis=1)


def verdicts(evaluation: Evaluation) -> dict[str, str]:
    return {gate.name: gate.verdict for gate in evaluation.gates}


def test_who_predicts_the_truth_passes_every_gate_and_equals_the_oracle(source: CorpusWindows) -> None:
    evaluation = measure(source, truth_teller(source))
    assert set(verdicts(evaluation).values()) == {"passed"}
    assert evaluation.rows["model"].exact == evaluation.rows["oracle"].exact
    assert evaluation.rows["model"].on_index == evaluation.rows["oracle"].on_index
    assert evaluation.rows["oracle"].exact.r1 == 1.0
    assert evaluation.rows["oracle"].cosine == pytest.approx(1)
    assert evaluation.misses == []
    assert list(evaluation.rows) == ["model", "copy_last", "context_mean", "ridge", "oracle"]


def test_a_gate_whose_bar_lies_inside_the_interval_is_within_noise_and_keeps_its_verdict(
    source: CorpusWindows,
) -> None:
    row = measure(source, context_mean).rows["model"]
    assert row.intervals is not None
    interval = row.intervals.r5
    assert interval.low < row.exact.r5 < interval.high
    bars = {
        "passed, within noise": row.exact.r5 - 1e-3,
        "missed, within noise": row.exact.r5 + 1e-3,
        "passed": interval.low - 1e-3,
        "missed": interval.high + 1e-3,
    }
    for said, bar in bars.items():
        gate = measure(source, context_mean, msgspec.structs.replace(EASY, r5=bar)).gates[1]
        assert (gate.name, gate.interval) == ("r5", interval)
        assert gate.verdict == said.split(",")[0]
        assert ("within noise" in gate.detail) == ("within noise" in said)
        assert f"(95 %: {interval.low:.3f} to {interval.high:.3f})" in gate.detail


def test_every_row_has_intervals_around_its_figures_and_topics_that_share_out_its_queries(
    source: CorpusWindows,
) -> None:
    evaluation = measure(source, context_mean)
    test_articles = np.unique(source.articles[halves(source).test])
    assert evaluation.num_articles == len(test_articles)
    for row in evaluation.rows.values():
        assert row.intervals is not None
        for name in ("contain50", "r5", "eff5"):
            assert getattr(row.intervals, name).holds(getattr(row.exact, name))
        assert list(row.by_topic) == ["A", "B"]
        assert sum(topic.num_queries for topic in row.by_topic.values()) == evaluation.num_queries
        assert sum(topic.num_articles for topic in row.by_topic.values()) == evaluation.num_articles
        found = sum(topic.r5 * topic.num_queries for topic in row.by_topic.values())
        assert found / evaluation.num_queries == pytest.approx(row.exact.r5)


def test_who_predicts_noise_misses_the_gates(source: CorpusWindows) -> None:
    generator = np.random.default_rng(0)
    evaluation = measure(source, lambda contexts: generator.normal(size=(len(contexts), source.dim)))
    assert verdicts(evaluation) == {"contain50": "missed", "r5": "missed", "eff5": "missed", "p95_ms": "passed"}
    assert "missed by" in evaluation.gates[0].detail


def test_figures_equal_their_definitions_query_by_query(source: CorpusWindows) -> None:
    evaluation = measure(source, context_mean)
    vectors = source.corpus.all_vectors()
    windows = halves(source).test
    predicted = context_mean(source.gather(windows)[0])
    ranks, ranks_with = [], []
    for query, truth in zip(predicted, source.target_chunks[windows].tolist(), strict=True):
        ranks.append(rank_of_truth(vectors, query, truth, list(range(truth - CONTEXT, truth))))
        ranks_with.append(rank_of_truth(vectors, query, truth, []))
    row = evaluation.rows["model"]
    for figures, plain in ((row.exact, ranks), (row.exact_with_context, ranks_with)):
        assert figures.contain20 == pytest.approx(share_within(plain, 20))
        assert figures.contain50 == pytest.approx(share_within(plain, 50))
        assert figures.r5 == pytest.approx(share_within(plain, 5))
    assert row.on_index == row.exact  # every list of this small index is visited
    assert row == evaluation.rows["context_mean"]
    assert row.exact.r5 > row.exact_with_context.r5
    assert evaluation.index.recall50 == 1.0


@pytest.mark.parametrize(("bad", "count"), [(slice(None), None), (slice(0, 1), 1)])
def test_a_nan_prediction_neither_crashes_nor_passes_and_is_named(source: CorpusWindows, bad: Any, count: Any) -> None:
    tell = truth_teller(source)

    def predict(contexts: Any) -> Any:
        predicted = tell(contexts)
        if len(contexts) > 1:
            predicted[bad] = np.nan
        return predicted

    evaluation = measure(source, predict)
    count = count or evaluation.num_queries
    assert set(verdicts(evaluation).values()) == {"undecidable"}
    assert all(f"{count} predictions are not finite" in gate.detail for gate in evaluation.gates)
    assert evaluation.rows["model"].cosine is None
    assert evaluation.rows["model"].num_non_finite == count
    assert any("are not finite" in note for note in evaluation.notes)
    assert {miss.mode for miss in evaluation.misses} == {"not finite"}
    assert "P95=" in eval_line(evaluation.rows["model"].exact, evaluation.latency)


def test_a_collapsed_model_finds_nothing(source: CorpusWindows) -> None:
    evaluation = measure(source, lambda contexts: np.zeros((len(contexts), source.dim), np.float32))
    assert evaluation.rows["model"].exact.contain50 == 0.0
    assert evaluation.rows["model"].exact.eff5 == 0.0
    assert verdicts(evaluation)["contain50"] == "missed"


def test_queries_are_test_windows_only_and_a_sample_is_decided_by_its_seed(source: CorpusWindows) -> None:
    test = halves(source).test
    drawn = [sample_queries(test, 10, seed).tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 10
    assert set(drawn[0]) <= set(test.tolist())
    assert sample_queries(test, 0, 0).tolist() == sample_queries(test, 10_000, 0).tolist() == test.tolist()


def test_fewer_queries_than_asked_is_said(source: CorpusWindows) -> None:
    few = measure(source, context_mean, msgspec.structs.replace(EASY, limit=10_000))
    assert any("instead of 10,000" in note for note in few.notes)
    enough = measure(source, context_mean, msgspec.structs.replace(EASY, limit=10))
    assert (enough.num_queries, enough.notes) == (10, [])


def test_without_test_articles_there_is_no_evaluation(source: CorpusWindows) -> None:
    split = replace_field(halves(source), test=np.array([], np.int64))
    with pytest.raises(ConfigError, match="test_share"):
        sample_queries(split.test, 10, 0)


def test_misses_name_what_was_found_instead(source: CorpusWindows) -> None:
    corpus = source.corpus
    evaluation = measure(source, lambda contexts: contexts[:, 0])
    assert 0 < len(evaluation.misses) <= 100
    for miss in evaluation.misses:
        assert miss.rank > 5
        assert len(miss.retrieved) == 5
        assert miss.truth != miss.context_last
        first = miss.retrieved[0]
        assert first.text == corpus.text(first.chunk)
        article, found = corpus.titles.index(miss.title), corpus.titles.index(first.title)
        expected = "own article" if article == found else "same topic" if article % 2 == found % 2 else "unrelated"
        assert miss.mode == expected
        assert miss.truth not in [retrieved.text for retrieved in miss.retrieved]


def test_floors_and_ceiling_are_kept_until_something_they_depend_on_changes(
    source: CorpusWindows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measure(source, context_mean, cache=tmp_path / "cache")
    calls: list[int] = []
    fit = baselines.kept_ridge
    monkeypatch.setattr(baselines, "kept_ridge", lambda *given: calls.append(1) or fit(*given))
    assert measure(source, context_mean, cache=tmp_path / "cache").rows == first.rows
    assert calls == []
    measure(source, context_mean, msgspec.structs.replace(EASY, limit=20), cache=tmp_path / "cache")
    assert calls == [1]
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(file.read_bytes().replace(b'"r5":0.', b'"r5":0.9'))
    assert measure(source, context_mean, cache=tmp_path / "cache").rows == first.rows
    assert calls == [1, 1]


def test_a_cache_that_cannot_be_written_does_not_stop_an_evaluation(source: CorpusWindows, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert set(measure(source, truth_teller(source), cache=tmp_path / "cache").rows) > {"model", "oracle"}


def test_the_eval_line_is_the_playbooks(source: CorpusWindows) -> None:
    row = measure(source, truth_teller(source)).rows["model"]
    line = eval_line(row.exact, latency_percentiles(np.array([1.234]), threads=1))
    assert line == ("[EVAL] Contain@20=1.000 Contain@50=1.000 R@1=1.000 R@5=1.000 R@10=1.000 Eff@5=1.000 P95=1.23ms")


def save_model(folder: Path, data: DataConfig, *, dim: int = 16, corpus_sha256: str = "") -> Path:
    """A checkpoint of an untrained AMN, which predicts the mean of the context."""
    config = RunConfig(model=ModelConfig(kind="amn", width=8, layers=1))
    torch.manual_seed(0)
    model = build_model(config.model, dim=dim, context=CONTEXT)
    save_checkpoint(
        folder,
        model=model,
        head=build_head(config.loss, dim=dim),
        training={},
        meta=CheckpointMeta(
            kind="amn",
            config=config,
            data=data,
            corpus_sha256=corpus_sha256,
            dim=dim,
            context=CONTEXT,
            epoch=4,
            step=9,
            val_cosine=0.5,
            sha256={},
        ),
    )
    return folder


def run(tmp_path: Path, checkpoint: Path, *more: object) -> Result:
    arguments = ["--checkpoint", checkpoint, "--index-dir", tmp_path / "indexes", *more]
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


LOW = ("--gate-contain50", 0, "--gate-r5", 0, "--gate-eff5", 0, "--gate-p95", 10_000)


def test_the_verb_writes_a_report_that_the_room_can_read(source: CorpusWindows, tmp_path: Path) -> None:
    data = DataConfig(corpus=str(source.corpus.folder), context=CONTEXT, test_share=0.3)
    save_model(tmp_path / "run-0001" / "checkpoints" / "best", data)
    out = tmp_path / "run-0001" / "evals" / "smoke.json"
    result = run(tmp_path, tmp_path / "run-0001", "--out", out, *LOW)
    assert result.exit_code == 0, result.output
    report = read_report(out)
    assert report.passed
    assert (report.name, report.epoch, report.asked, report.embedder) == ("smoke", 4, 1000, "test-encoder")
    assert report.num_queries == len(halves(source).test) < 1000
    assert f"{report.num_queries} queries instead of 1,000" in result.stderr
    assert report.eval_line in result.stdout
    assert "[FLOOR] context_mean" in result.stdout
    assert "[CEILING] oracle" in result.stdout
    assert report.rows["model"].cosine == pytest.approx(report.rows["context_mean"].cosine or 0, abs=1e-4)
    lines = out.with_name("smoke.misses.jsonl").read_bytes().splitlines()
    assert lines
    assert all(msgspec.json.decode(line, type=Miss).rank > 5 for line in lines)


def test_the_table_shows_intervals_and_topics_only_when_asked(source: CorpusWindows, tmp_path: Path) -> None:
    checkpoint = save_model(
        tmp_path / "best", DataConfig(corpus=str(source.corpus.folder), context=CONTEXT, test_share=0.3)
    )
    plain = run(tmp_path, checkpoint, "--out", tmp_path / "r.json", *LOW)
    report = read_report(tmp_path / "r.json")
    intervals = report.rows["model"].intervals
    assert intervals is not None
    assert f"{report.num_queries} queries of {report.num_articles} articles" in plain.stdout
    lines = plain.stdout.splitlines()
    below = lines[next(number for number, line in enumerate(lines) if line.startswith("model ")) + 1]
    assert below.split()[:2] == ["95", "%"]
    assert f"{intervals.r5.low:.3f}-{intervals.r5.high:.3f}" in below
    assert "context mean: R@5" not in plain.stdout
    by_topic = run(tmp_path, checkpoint, "--by-topic", *LOW).stdout.splitlines()
    start = next(number for number, line in enumerate(by_topic) if "context mean: R@5" in line)
    for line, (name, topic) in zip(by_topic[start + 1 :], report.rows["model"].by_topic.items(), strict=False):
        assert line.split()[:3] == [name, str(topic.num_queries), str(topic.num_articles)]


def test_a_report_without_intervals_and_topics_is_still_read(source: CorpusWindows, tmp_path: Path) -> None:
    checkpoint = save_model(
        tmp_path / "best", DataConfig(corpus=str(source.corpus.folder), context=CONTEXT, test_share=0.3)
    )
    run(tmp_path, checkpoint, "--out", tmp_path / "r.json", *LOW)
    report = msgspec.json.decode((tmp_path / "r.json").read_bytes())
    del report["num_articles"]
    for row in report["rows"].values():
        del row["intervals"], row["by_topic"]
    for gate in report["gates"]:
        del gate["interval"]
    (tmp_path / "r.json").write_bytes(msgspec.json.encode(report))
    old = read_report(tmp_path / "r.json")
    assert (old.num_articles, old.rows["model"].intervals, old.gates[0].interval) == (0, None, None)
    assert not any(line.startswith("  95 %") for line in render(old, by_topic=True).splitlines())


def test_the_kind_of_index_can_be_chosen_and_is_reported(source: CorpusWindows, tmp_path: Path) -> None:
    large = make_corpus(tmp_path / "large", LENGTHS * 2)
    data = DataConfig(corpus=str(large.folder), context=CONTEXT, test_share=0.3)
    checkpoint = save_model(tmp_path / "best", data)
    kinds = {}
    for kind in ("auto", "flat", "fastscan"):
        result = run(tmp_path, checkpoint, "--index", kind, "--out", tmp_path / "r.json", *LOW)
        assert result.exit_code == 0, result.output
        report = read_report(tmp_path / "r.json")
        kinds[kind] = report.index.kind
        assert report.index.recall50 is not None
        assert report.index.recall50 > 0.9
    assert kinds["auto"] == kinds["flat"] == "IVF16,Flat"
    assert kinds["fastscan"] == "IVF16(SQfp16),PQ8x4fsr,RFlat k_factor=8"
    small = save_model(tmp_path / "small", DataConfig(corpus=str(source.corpus.folder), context=CONTEXT))
    refused = run(tmp_path, small, "--index", "fastscan")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--index flat" in refused.stderr


def test_a_missed_gate_is_exit_code_one(source: CorpusWindows, tmp_path: Path) -> None:
    data = DataConfig(corpus=str(source.corpus.folder), context=CONTEXT, test_share=0.3)
    result = run(tmp_path, save_model(tmp_path / "best", data), *LOW, "--gate-r5", 1)
    assert result.exit_code == 1, result.output
    assert "[GATE] r5 missed" in result.stdout
    assert "[GATE] contain50 passed" in result.stdout


def test_what_cannot_be_evaluated_is_exit_code_two_in_one_line(source: CorpusWindows, tmp_path: Path) -> None:
    here = str(source.corpus.folder)
    wide = save_model(tmp_path / "wide", DataConfig(corpus=here, context=CONTEXT), dim=24)
    from_npz = save_model(tmp_path / "npz", DataConfig(train_npz="w.npz", context=CONTEXT))
    untested = save_model(tmp_path / "untested", DataConfig(corpus=here, context=CONTEXT, test_share=0.0))
    for checkpoint, words in (
        (tmp_path / "nowhere", "nowhere"),
        (wide, "24 dimensions"),
        (from_npz, "--corpus"),
        (untested, "test_share"),
    ):
        result = run(tmp_path, checkpoint)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.splitlines()[-1].startswith("error: ")
        assert words in result.stderr


def test_another_corpus_than_the_models_own_is_said(source: CorpusWindows, tmp_path: Path) -> None:
    from_npz = save_model(tmp_path / "npz", DataConfig(train_npz="w.npz", context=CONTEXT, test_share=0.3))
    result = run(tmp_path, from_npz, "--corpus", source.corpus.folder, *LOW)
    assert result.exit_code == 0, result.output
    assert "trained on w.npz: whether it saw these articles is not known" in result.stderr


def test_a_model_of_the_playbooks_flags_can_be_evaluated(source: CorpusWindows, tmp_path: Path) -> None:
    """They keep no test articles of a file of windows; those of the corpus are held apart by the corpus's own split."""
    from_npz = save_model(tmp_path / "npz", DataConfig(train_npz="w.npz", context=CONTEXT, test_share=0.0))
    result = run(tmp_path, from_npz, "--corpus", source.corpus.folder, *LOW)
    assert result.exit_code == 0, result.output


def test_a_corpus_that_was_changed_since_the_training_is_refused_unless_named(
    source: CorpusWindows, tmp_path: Path
) -> None:
    here = str(source.corpus.folder)
    data = DataConfig(corpus=here, context=CONTEXT, test_share=0.3)
    same = save_model(tmp_path / "same", data, corpus_sha256=source.corpus.sha256)
    assert run(tmp_path, same, *LOW).exit_code == 0
    assert "not known" not in run(tmp_path, same, "--corpus", f"{here}/.", *LOW).stderr
    other = save_model(tmp_path / "other", data, corpus_sha256="0" * 64)
    refused = run(tmp_path, other, *LOW)
    assert refused.exit_code == 2
    assert "was changed since" in refused.stderr
    named = run(tmp_path, other, "--corpus", here, *LOW)
    assert named.exit_code == 0
    assert "whether it saw these articles is not known" in named.stderr


def test_a_report_cannot_replace_a_folder_and_nothing_is_left_beside_it(source: CorpusWindows, tmp_path: Path) -> None:
    data = DataConfig(corpus=str(source.corpus.folder), context=CONTEXT, test_share=0.3)
    (tmp_path / "out").mkdir()
    result = run(tmp_path, save_model(tmp_path / "best", data), "--out", tmp_path / "out", *LOW)
    assert (result.exit_code, result.stdout) == (2, "")
    assert not list(tmp_path.glob("*.misses.jsonl"))


def test_a_model_whose_weights_are_nan_fails_the_verb_and_says_why(source: CorpusWindows, tmp_path: Path) -> None:
    data = DataConfig(corpus=str(source.corpus.folder), context=CONTEXT, test_share=0.3)
    config = RunConfig(model=ModelConfig(kind="amn", width=8, layers=1))
    model = build_model(config.model, dim=16, context=CONTEXT)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    meta = CheckpointMeta(
        kind="amn", config=config, data=data, dim=16, context=CONTEXT, epoch=1, step=1, val_cosine=None, sha256={}
    )
    save_checkpoint(tmp_path / "nan", model=model, head=build_head(config.loss, dim=16), training={}, meta=meta)
    result = run(tmp_path, tmp_path / "nan", "--out", tmp_path / "nan.json", *LOW)
    assert result.exit_code == 1, result.output
    assert "predictions are not finite" in result.stdout
    assert "cosine" in result.stdout
    assert not read_report(tmp_path / "nan.json").passed


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"schema": 2}'])
def test_a_damaged_report_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"r\.json"):
        read_report(tmp_path / "r.json")
