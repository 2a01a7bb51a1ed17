"""A rectangle of terminal cells to compose a picture in: a character and the name of a style for each."""

from __future__ import annotations

from rich.cells import cell_len

Run = tuple[str, str]
"""Text and the name of its style."""


class Grid:
    """Cells that later writing covers earlier writing in."""

    def __init__(self, width: int, height: int, style: str) -> None:
        """A blank grid, all in one style."""
        self.width = width
        self.height = height
        self.characters = [[" "] * width for _ in range(height)]
        """By row and column. A character two cells wide leaves an empty string in the second."""
        self.styles = [[style] * width for _ in range(height)]
        """Names of styles, by row and column."""

    def put(self, row: int, column: int, text: str, style: str) -> None:
        """Write text from a cell on; what lies outside of the grid is cut off."""
        if not 0 <= row < self.height:
            return
        for character in text:
            width = 1 if character.isascii() else cell_len(character)
            if column < 0 or column + width > self.width:
                column += width
                continue
            if width == 0:
                # a combining mark belongs to the character before it, which may be two cells wide
                base = column - 1 if column and self.characters[row][column - 1] else column - 2
                if base >= 0:
                    self.characters[row][base] += character
                continue
            for half in range(width):
                self._vacate(row, column + half)
                self.characters[row][column + half] = "" if half else character
                self.styles[row][column + half] = style
            column += width

    def is_free(self, row: int, column: int, width: int, taken: frozenset[str]) -> bool:
        """Whether none of the cells has one of the taken styles. Cells outside of the grid are not free."""
        if not (0 <= row < self.height and column >= 0 and column + width <= self.width):
            return False
        return taken.isdisjoint(self.styles[row][column : column + width])

    def rows(self) -> list[list[Run]]:
        """Every row as runs of one style; each row's text fills the width exactly."""
        return [self._runs(characters, styles) for characters, styles in zip(self.characters, self.styles, strict=True)]

    def _vacate(self, row: int, column: int) -> None:
        """A wide character that loses one of its cells becomes two blanks."""
        characters = self.characters[row]
        if characters[column] == "":
            characters[column - 1] = characters[column] = " "
        elif column + 1 < self.width and characters[column + 1] == "":
            characters[column + 1] = " "

    @staticmethod
    def _runs(characters: list[str], styles: list[str]) -> list[Run]:
        if not styles:
            return []
        runs: list[Run] = []
        begin, current = 0, styles[0]
        for column, style in enumerate(styles):
            if style != current:
                runs.append(("".join(characters[begin:column]), current))
                begin, current = column, style
        runs.append(("".join(characters[begin:]), current))
        return runs
