"""Long lines of a log folded to its width: what is visible of them, and where the end begins. Pure.

Rows stay lines of the file, so that a wrapped log of a million lines still measures only those in view.
"""

from __future__ import annotations

from collections.abc import Callable

from textual.strip import Strip


def folded(strip: Strip, width: int) -> list[Strip]:
    """A line in pieces of at most `width` cells; one piece, which may be empty, for a line that fits."""
    if width < 1 or strip.cell_length <= width:
        return [strip]
    return list(strip.divide([*range(width, strip.cell_length, width), strip.cell_length]))


def rows_below(top: int, num_rows: int, height: int, pieces: Callable[[int], list[Strip]]) -> list[tuple[int, Strip]]:
    """What is visible from a row on: pieces with the rows they are of, as many as fit in `height`."""
    seen: list[tuple[int, Strip]] = []
    for row in range(top, num_rows):
        seen += [(row, piece) for piece in pieces(row)]
        if len(seen) >= height:
            break
    return seen[:height]


def top_of_end(num_rows: int, height: int, pieces: Callable[[int], list[Strip]]) -> int:
    """The first row from which all rows to the last fit in `height`; the last row where even that does not."""
    left = height
    for row in range(num_rows - 1, -1, -1):
        left -= len(pieces(row))
        if left < 0:
            return min(row + 1, num_rows - 1)
    return 0
