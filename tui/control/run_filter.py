"""Which runs to list, in words: `gate:missed loss.temperature<0.07 -note:debug | id:0007`.

Words stand for AND, `|` for OR between groups of them, a leading `-` for NOT. A word is

- `key:value`, a field that holds the value; with `*` or `?` in it, one that is the value. `key:` asks for any value;
- `name<number`, or with `<=`, `>`, `>=`, `=`, `!=`: a setting of the run by its dotted name, or what was measured;
- anything else, which the run's id, name or note holds.

Case does not count. Double quotes take what is within them as it is, `\\` before a quote keeps that. A run without the
number that is asked for is not found by it, whatever it is compared with.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from engine.run.convert import ConfigError, suggestion
from tui.control.run_facts import FIELDS, NUMBERS, WORDS, number_of, setting_of, settings_by_default
from tui.control.views import RunView

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    # the longer ones first: they begin like the others
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_BARE = ("id", "name", "note")


class FilterError(ConfigError):
    """A filter that means nothing. The message names the word and what could be meant."""


@dataclass(frozen=True, slots=True)
class Term:
    """One word."""

    value: str
    key: str = ""
    """The field, setting or number that is asked for; empty for a word that id, name or note holds."""
    sign: str = ""
    """`:` for a field, a comparison for a setting or number."""
    negated: bool = False

    def __str__(self) -> str:
        """The word as it can be typed; parsed again, it is the same."""
        return f"{'-' if self.negated else ''}{self.key}{self.sign}{_quoted(self.value, is_bare=not self.key)}"

    def finds(self, view: RunView) -> bool:
        """Whether it holds of a run."""
        return self._holds(view) is not self.negated

    def _holds(self, view: RunView) -> bool:
        if not self.key:
            return any(_contains(text, self.value) for key in _BARE for text in FIELDS[key](view))
        if self.sign == ":":
            return any(_contains(text, self.value) for text in FIELDS[self.key](view))
        found = number_of(view, self.key) if self.key in NUMBERS else setting_of(view, self.key)
        if found is None:
            return False
        if isinstance(found, bool | str):
            return _is(str(found), self.value) is (self.sign != "!=")
        return COMPARISONS[self.sign](found, float(self.value))


@dataclass(frozen=True)
class RunFilter:
    """Groups of words, of which one must hold whole; no group at all is every run."""

    groups: tuple[tuple[Term, ...], ...] = ()

    def __str__(self) -> str:
        """The filter as it can be typed; parsed again, it is the same."""
        return " | ".join(" ".join(map(str, group)) for group in self.groups)

    @cached_property
    def asks_for_archived(self) -> bool:
        """Whether it speaks of archived runs, which are left out otherwise."""
        return any(
            term.key == "is" and not term.negated and term.value and _contains("archived", term.value)
            for group in self.groups
            for term in group
        )

    def finds(self, view: RunView) -> bool:
        """Whether a run is wanted. One that is put away is only if it is asked for."""
        if view.is_put_away and not self.asks_for_archived:
            return False
        return not self.groups or any(all(term.finds(view) for term in group) for group in self.groups)

    def of(self, views: Iterable[RunView]) -> list[RunView]:
        """The runs that are wanted, in their order."""
        return [view for view in views if self.finds(view)]


EVERY_RUN = RunFilter()
"""Of those that are not put away."""


def parse_filter(text: str) -> RunFilter:
    """Read a filter.

    Raises:
        FilterError: a word means nothing: its key is unknown (the nearest one is named), what a number is compared with
            is none, or a quote is not closed.
    """
    groups: list[list[Term]] = [[]]
    for word in _words(text):
        if word.is_bar:
            groups.append([])
        else:
            groups[-1].append(_term(word))
    return RunFilter(tuple(tuple(group) for group in groups if group))


@dataclass(slots=True)
class _Word:
    """A word without its quotes, and which of its characters stood within them and so mean only themselves."""

    text: str = ""
    quoted: str = ""
    """One character for each of `text`: a blank for a plain one, `q` for a quoted one."""
    is_bar: bool = False
    has_quotes: bool = False

    def add(self, character: str, *, quoted: bool) -> None:
        self.text += character
        self.quoted += "q" if quoted else " "


def _words(text: str) -> Iterator[_Word]:
    word: _Word | None = None
    characters = iter(text)
    in_quotes = False
    for character in characters:
        if in_quotes:
            if character == "\\":
                character = next(characters, "")
            elif character == '"':
                in_quotes = False
                continue
            if word is not None and character:
                word.add(character, quoted=True)
        elif character.isspace() or character == "|":
            if word is not None:
                yield word
            word = None
            if character == "|":
                yield _Word(is_bar=True)
        else:
            word = word or _Word()
            if character == '"':
                in_quotes = word.has_quotes = True
            else:
                word.add(character, quoted=False)
    if in_quotes:
        raise FilterError(f'a quote is not closed: "{word.text if word else ""}')
    if word is not None:
        yield word


def _term(word: _Word) -> Term:
    text, quoted = word.text, word.quoted
    negated = text.startswith("-") and quoted[0] == " "
    if negated:
        text, quoted = text[1:], quoted[1:]
        if not text and not word.has_quotes:
            raise FilterError('"-" negates the word that follows it without a blank, as in -note:debug.')
    at, sign = _find_sign(text, quoted)
    if not sign:
        return Term(text, negated=negated)
    key, value = text[:at].casefold(), text[at + len(sign) :]
    check, kind = (_check_field, "field") if sign == ":" else (_check_comparison, "setting or number")
    known = FIELDS if sign == ":" else {*settings_by_default(), *NUMBERS}
    if key not in known:
        raise FilterError(f'"{text}": no {kind} is called "{key}".{_hint(key, sign, known)}')
    sign = "=" if sign == "==" else sign
    check(text, key, sign, value)
    return Term(value, key, sign, negated)


def _find_sign(text: str, quoted: str) -> tuple[int, str]:
    """Where the first plain `:` or comparison stands, and which it is; an empty one where there is none."""
    for at in range(len(text)):
        for sign in (":", *COMPARISONS):
            if text.startswith(sign, at) and "q" not in quoted[at : at + len(sign)]:
                return at, sign
    return 0, ""


def _hint(key: str, sign: str, known: Iterable[str]) -> str:
    """What could be meant by an unknown key: the other kind of word first, then the nearest name."""
    if sign == ":" and (key in NUMBERS or key in settings_by_default()):
        return f" Compare it: {key}=..., {key}<..., {key}>=..."
    if sign != ":" and key in FIELDS:
        return f" Write {key}:..."
    return suggestion(key, known) if key else f' To look for the text itself, quote it: "{sign}...".'


def _check_field(word: str, key: str, sign: str, value: str) -> None:
    words = WORDS.get(key)
    if words is not None and not any(_contains(known, value) for known in words):
        raise FilterError(f'"{word}": {key} is never "{value}".{suggestion(value.casefold(), words)}')


def _check_comparison(word: str, key: str, sign: str, value: str) -> None:
    default = None if key in NUMBERS else settings_by_default()[key]
    if isinstance(default, bool | str):
        if sign not in ("=", "!="):
            raise FilterError(f'"{word}": {key} is no number: compare it with = or !=.')
        if isinstance(default, bool) and value.casefold() not in ("true", "false"):
            raise FilterError(f'"{word}": {key} is true or false.')
        return
    try:
        is_number = math.isfinite(float(value))
    except ValueError:
        is_number = False
    if not is_number:
        raise FilterError(f'"{word}": "{value}" is no number to compare {key} with.')


def _contains(text: str, value: str) -> bool:
    return _is(text, value) if _is_pattern(value) else value.casefold() in text.casefold()


def _is(text: str, value: str) -> bool:
    """Whether a text is the value, or is of its pattern."""
    text, value = text.casefold(), value.casefold()
    return fnmatchcase(text, value.replace("[", "[[]")) if _is_pattern(value) else text == value


def _is_pattern(value: str) -> bool:
    return "*" in value or "?" in value


def _quoted(value: str, *, is_bare: bool) -> str:
    """The value in quotes where it would be read as something else without them."""
    means_more = any(character.isspace() or character in '|"' for character in value) or value.startswith("=")
    if is_bare:
        means_more |= not value or value.startswith("-") or bool(_find_sign(value, " " * len(value))[1])
    if not means_more:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
