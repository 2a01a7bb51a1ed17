"""The filter of the runs: what each word finds, what it refuses and how, and that what is printed is what was read."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from recorded import AMN_HISTORY, MAMBA_HISTORY, eval_report, make_spec, make_view, run_events

from engine.run.state import Status
from tui.control.run_facts import FIELDS, NUMBERS, WORDS, setting_of, settings_by_default
from tui.control.run_filter import COMPARISONS, FilterError, RunFilter, Term, parse_filter
from tui.control.views import RunView


@pytest.fixture(scope="module")
def runs() -> list[RunView]:
    """A run that missed, its child that is under way, a baseline that passed, and one that is put away."""
    root = make_spec("mamba_s", 1)
    child = make_spec("mamba_s", 2, parent=root, patch={"loss.temperature": 0.05}, fix="Temperature")
    baseline, old = make_spec("amn", 3), make_spec("amn", 4)
    views = [
        make_view(root, run_events(root, MAMBA_HISTORY), status=Status.FINISHED),
        make_view(child, run_events(child, [0.3])),
        make_view(
            baseline,
            run_events(baseline, AMN_HISTORY),
            status=Status.FINISHED,
            evals={"smoke-e0004": eval_report(r5=0.48)},
        ),
        make_view(old, run_events(old, [0.2]), status=Status.FAILED),
    ]
    views[0].note = "too hot #debug [x]"
    views[3].archived = True
    return views


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [1, 2, 3]),
        ("gate:missed", [1]),
        ("gate:missed | gate:pending", [1, 2]),
        ("model:mamba_s loss.temperature<0.07", [2]),
        ("model:mamba", [1, 2]),
        ("model:mamba*", [1, 2]),
        ("model:amb*", []),
        ("-model:mamba", [3]),
        ("id:0002", [2]),
        ("ID:MAMBA_S-0002", [2]),
        ("name:amn", [3]),
        ("status:running", [2]),
        ("status:fin", [1, 3]),
        ("is:alive", [2]),
        ("is:evaluated", [3]),
        ("is:archived", [4]),
        ("is:archived | gate:passed", [3, 4]),
        ("-is:archived", [1, 2, 3]),
        ("parent:0001", [2]),
        ("parent:", [2]),
        ("-parent:", [1, 3]),
        ("fix:temp", [2]),
        ("note:debug", [1]),
        ('note:"too hot"', [1]),
        ("note:[x]", [1]),
        ("note:*[x]", [1]),
        ("-note:debug", [2, 3]),
        ("tag:debug", [1]),
        ("tag:de?ug", [1]),
        ("tag:ebu?", []),
        ("hot", [1]),
        ("HOT", [1]),
        ("mamba -hot", [2]),
        ("loss.temperature=0.05", [2]),
        ("loss.temperature!=0.05", [1, 3]),
        ("loss.temperature==7e-2", [1, 3]),
        ("model.kind=amn", [3]),
        ("model.kind=mamba", []),
        ("model.kind=mamba*", [1, 2]),
        ("model.kind!=amn", [1, 2]),
        ("loss.mask_same_article=true", [1, 2, 3]),
        ("loss.mask_same_article=FALSE", []),
        ("data.context>=5", [1, 2, 3]),
        ("data.corpus=embedded:*", [1, 2, 3]),
        ("epochs=12 epoch>=4", [1, 3]),
        ("val_cosine>0.5", [3]),
        ("-val_cosine>0.5", [1, 2]),
        ("best_val_cosine<=.413", [1, 2]),
        ("r5>0.4", [3]),
        ("r5<=1", [3]),
        ("effective_rank>1e1|id:0002", [1, 2, 3]),
        (" | gate:passed | ", [3]),
    ],
)
def test_each_word_finds_its_runs(runs: list[RunView], text: str, found: list[int]) -> None:
    assert [int(view.id[-4:]) for view in parse_filter(text).of(runs)] == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gat:missed", 'no field is called "gat". Did you mean "gate"?'),
        ("epoch>1 temperature<0.07", '"temperature<0.07": no setting or number is called "temperature". Did you mean'),
        ("temperature<0.07", '"loss.temperature"?'),
        ("val_cosin>0.5", 'Did you mean "val_cosine"?'),
        ("gate:mised", '"gate:mised": gate is never "mised". Did you mean "missed"?'),
        ("status:done", 'status is never "done". Known: '),
        ("epoch:2", "Compare it: epoch=..., epoch<..., epoch>=..."),
        ("loss.temperature:0.07", "Compare it: loss.temperature=..."),
        ("gate=missed", "Write gate:..."),
        ("epoch>two", '"epoch>two": "two" is no number to compare epoch with.'),
        ("epoch>", '"" is no number'),
        ("epoch>nan", '"nan" is no number'),
        ("epoch>1e999", '"1e999" is no number'),
        ("model.kind<amn", "model.kind is no number: compare it with = or !=."),
        ("loss.mask_same_article=yes", "loss.mask_same_article is true or false"),
        ('note:"too hot', "a quote is not closed"),
        (":x", "quote it"),
        ("a -", '"-" negates the word that follows it'),
        ("title=x", 'no setting or number is called "title"'),
    ],
)
def test_what_means_nothing_is_named_with_what_could_be_meant(text: str, said: str) -> None:
    with pytest.raises(FilterError) as told:
        parse_filter(text)
    assert said in str(told.value)


def test_quotes_make_a_word_of_anything() -> None:
    assert parse_filter('"gat:missed" "-x" "a|b" "" "say \\"no\\""') == RunFilter(
        ((Term("gat:missed"), Term("-x"), Term("a|b"), Term(""), Term('say "no"')),)
    )


PIECES = [*FIELDS, *NUMBERS, *COMPARISONS, "loss.temperature", "model.kind", ":", "-", "|", '"', " ", "1"]
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(alphabet='ab-:|<>=!*?"\\ \t[].é', max_size=30),
    st.lists(
        st.sampled_from(
            [*FIELDS, *NUMBERS, "loss.temperature", "model.kind", ":", *COMPARISONS, "-", "|", '"', " ", "1"]
        ),
        max_size=14,
    ).map("".join),
)


@given(TEXTS)
@example("-")
@example('"')
@example('"\\')
@example("title==x")
@example("\x1b]0;owned\x07")
@example("gate:" + "*a" * 20)
def test_any_text_is_a_filter_that_prints_as_itself_or_is_refused(text: str) -> None:
    try:
        parsed = parse_filter(text)
    except FilterError:
        return
    assert parse_filter(str(parsed)) == parsed


WORD = st.text(max_size=8)
TERMS = st.one_of(
    st.builds(Term, WORD, negated=st.booleans()),
    st.builds(
        Term,
        WORD,
        key=st.sampled_from(sorted(set(FIELDS) - set(WORDS))),
        sign=st.just(":"),
        negated=st.booleans(),
    ),
    st.builds(
        Term,
        st.sampled_from(["0", "-1.5", "1e-3"]),
        key=st.sampled_from([*NUMBERS, "loss.temperature", "data.context"]),
        sign=st.sampled_from([sign for sign in COMPARISONS if sign != "=="]),
        negated=st.booleans(),
    ),
    st.builds(Term, WORD, key=st.just("model.kind"), sign=st.sampled_from(["=", "!="]), negated=st.booleans()),
)
FILTERS = st.lists(st.lists(TERMS, min_size=1, max_size=3).map(tuple), max_size=3).map(
    lambda groups: RunFilter(tuple(groups))
)


@given(FILTERS)
def test_every_filter_can_be_typed(wanted: RunFilter) -> None:
    assert parse_filter(str(wanted)) == wanted


@given(FILTERS)
def test_asking_any_filter_of_any_run_is_no_traceback(runs: list[RunView], wanted: RunFilter) -> None:
    found = wanted.of(runs)
    assert [view for view in runs if wanted.finds(view)] == found
    for term in (term for group in wanted.groups for term in group):
        assert term.finds(runs[0]) is not Term(term.value, term.key, term.sign, not term.negated).finds(runs[0])


def test_a_pattern_of_many_stars_takes_no_time(runs: list[RunView]) -> None:
    runs[1].note = "a" * 400
    try:
        assert not parse_filter("note:" + "*a" * 40 + "*b").of(runs)
    finally:
        runs[1].note = ""


def test_every_setting_of_a_run_can_be_compared_with_what_it_is(runs: list[RunView]) -> None:
    for key in settings_by_default():
        assert parse_filter(f'{key}="{setting_of(runs[0], key)}"').finds(runs[0]), key
        assert not parse_filter(f'{key}!="{setting_of(runs[0], key)}"').finds(runs[0]), key
