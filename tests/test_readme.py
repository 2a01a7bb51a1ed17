"""What the README says of the code is still so."""

from __future__ import annotations

import re

from readme_tree import README, TOP, with_tree

from tui.control.playbook import load_playbook
from tui.keymap import ROOM_BINDINGS
from tui.panes.chart import ChartPane
from tui.widgets.chart_keys import CHART_KEYS
from tui.widgets.file_view import FileView
from tui.widgets.virtual_log import VirtualLog

OF_PANES = [*CHART_KEYS, *ChartPane.BINDINGS, *FileView.BINDINGS, *VirtualLog.BINDINGS]
SIGNS = {"left": "←", "right": "→", "plus": "+", "minus": "-", "equals_sign": "="}
"""Keys as they are printed, where they have names."""


def test_the_tree_of_files_is_up_to_date() -> None:
    readme = README.read_text()
    assert readme == with_tree(readme), "run: python tests/readme_tree.py"


def test_every_key_that_the_readme_names_exists() -> None:
    table = README.read_text().partition("| key |")[2].partition("\n\n")[0]
    named = {key for cell in re.findall(r"^\| (.*?) \|", table, re.MULTILINE) for key in re.findall(r"`(\S)`", cell)}
    known = {binding.key_display or SIGNS.get(binding.key, binding.key) for binding in (*ROOM_BINDINGS, *OF_PANES)}
    assert named - known <= {"1", "8"}, "the ends of a range"


def test_every_picture_that_the_readme_shows_is_there() -> None:
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README.read_text()):
        assert (TOP / picture).is_file(), picture


def test_every_file_that_the_docs_point_at_is_there() -> None:
    for page in (README, *sorted((TOP / "docs").glob("*.md"))):
        text = page.read_text()
        for name in re.findall(r"`((?:tests|engine|tui|benchmarks)/[\w/]+\.(?:py|toml))`", text):
            assert (TOP / name).is_file(), f"{page.name} names {name}"
        for name in re.findall(r"`(\w+\.py)`", text):
            assert (TOP / "tests/reference" / name).is_file(), f"{page.name} names {name}"


def test_every_node_of_the_playbook_has_its_place_on_one_page() -> None:
    told = [
        name
        for page in sorted((TOP / "docs/playbook").glob("*.md"))
        for name in re.findall(r"^### .*\(`(\w+)`\)$", page.read_text(), re.MULTILINE)
    ]
    assert sorted(told) == sorted(load_playbook().node)


def test_every_page_is_reached_from_the_readme_and_every_link_leads_somewhere() -> None:
    reached, to_read = set(), [README]
    while to_read:
        page = to_read.pop()
        reached.add(page)
        for link in re.findall(r"\]\(([^)#:]+\.md)\)", page.read_text()):
            target = (page.parent / link).resolve()
            assert target.is_file(), f"{page.name} links {link}"
            if target not in reached:
                to_read.append(target)
    assert {*(TOP / "docs").rglob("*.md")} <= reached
