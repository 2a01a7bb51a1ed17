"""The README's tree of files, made from the first sentence of each module, so that it cannot be out of date.

`python tests/readme_tree.py` writes it; a test compares.
"""

from __future__ import annotations

import ast
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
README = TOP / "README.md"
BEGIN, END = "<!-- tree -->\n```\n", "```\n<!-- end of tree -->"


def tree() -> str:
    """One line a file: its path, and what it is for."""
    rows = []
    for package in ("engine", "tui"):
        for path in sorted((TOP / package).rglob("*.py"), key=lambda path: (path.parent.parts, path.name)):
            summary = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
            if summary:
                rows.append((str(path.relative_to(TOP)), summary.partition(". ")[0].rstrip(".")))
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name.ljust(width)}  {summary}\n" for name, summary in rows)


def with_tree(readme: str) -> str:
    """The README with its tree made anew."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + tree() + END + after


if __name__ == "__main__":
    README.write_text(with_tree(README.read_text()))
