"""A raster of dots finer than the terminal's cells: 2 by 4 to a cell in braille, 1 by 1 in plain characters.

Lines reach it as vertical spans, one for each column of dots, which is what many points bucketed into few columns come
down to; filling a span costs one mask for each cell it crosses. Two lines may share a cell's dots, but a cell has one
colour: that of the line added last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

# Unicode's braille patterns: the bit of each dot, left and right column from top to bottom
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BLANK: Final = 0x2800
# the dots of column half c from row a to row b, both included, at [c][a][b]
_SPANS: Final = tuple(
    tuple(tuple(sum(dots[top : bottom + 1]) for bottom in range(4)) for top in range(4)) for dots in _DOTS
)


Span = tuple[int, int, int]
"""Dots of a column that a line covers: the column, and its first and last row, both included, from the top."""


class Raster:
    """Dots for a rectangle of cells, and whose they are."""

    def __init__(self, width: int, height: int, *, ascii_only: bool = False) -> None:
        """An empty raster.

        Args:
            width: Columns of cells.
            height: Rows of cells.
            ascii_only: One dot a cell, drawn with a plain character.
        """
        self.width = width
        self.dot_columns = width if ascii_only else width * 2
        """Columns of dots."""
        self.dot_rows = height if ascii_only else height * 4
        """Rows of dots."""
        self._ascii_only = ascii_only
        self._bits: dict[int, int] = {}
        self._owners: dict[int, int] = {}

    def add(self, spans: Sequence[Span], dash: Sequence[bool], owner: int) -> None:
        """Draw a line.

        Args:
            spans: What it covers; must lie within the raster.
            dash: Which columns of dots are drawn, repeated along the line.
            owner: Whose line it is, as told by `cells`.
        """
        bits, owners, width, period = self._bits, self._owners, self.width, len(dash)
        for column, top, bottom in spans:
            if not dash[column % period]:
                continue
            if self._ascii_only:
                for row in range(top, bottom + 1):
                    bits[row * width + column] = 1
                    owners[row * width + column] = owner
                continue
            masks = _SPANS[column & 1]
            first, last = top >> 2, bottom >> 2
            cell = first * width + (column >> 1)
            if first == last:
                bits[cell] = bits.get(cell, 0) | masks[top & 3][bottom & 3]
                owners[cell] = owner
                continue
            bits[cell] = bits.get(cell, 0) | masks[top & 3][3]
            owners[cell] = owner
            full = masks[0][3]
            for _ in range(first + 1, last):
                cell += width
                bits[cell] = bits.get(cell, 0) | full
                owners[cell] = owner
            cell += width
            bits[cell] = bits.get(cell, 0) | masks[0][bottom & 3]
            owners[cell] = owner

    def cells(self) -> Iterator[tuple[int, int, str, int]]:
        """Every cell with a dot: row, column, character (empty in plain mode: the owner has its own) and owner."""
        for cell, mask in self._bits.items():
            row, column = divmod(cell, self.width)
            yield row, column, "" if self._ascii_only else chr(_BLANK | mask), self._owners[cell]
