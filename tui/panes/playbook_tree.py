"""The whole playbook as a tree to be walked by hand, with the path a run has taken marked in it."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from engine.run.settings import EvalConfig, Gate
from tui.control.playbook import Playbook, Position, fill, usual_words
from tui.panes.words import say

Branch = tuple[str, str]
"""The answer that leads to a node, and the node's name."""


class PlaybookTree(Tree[Branch]):
    """Every branch of the playbook; none is hidden."""

    DEFAULT_CSS = "PlaybookTree { background: transparent; padding: 0; scrollbar-size-horizontal: 0; }"

    def __init__(self, playbook: Playbook) -> None:
        self._playbook = playbook
        self._taken: list[Branch] = []
        self._plain = False
        self._words = usual_words(Gate(), EvalConfig().at_epoch)
        super().__init__("", ("", playbook.start))

    def on_mount(self) -> None:
        """Grow it once; positions only mark it."""
        self._grow(self.root)
        self.root.expand()

    def use_ascii(self, plain: bool) -> None:
        """Guides, icons and words that any terminal knows, or the toolkit's."""
        self.show_guides = not plain
        usual = Tree[object].ICON_NODE, Tree[object].ICON_NODE_EXPANDED
        self.ICON_NODE, self.ICON_NODE_EXPANDED = ("> ", "v ") if plain else usual
        if plain != self._plain:
            self._plain = plain
            self._relabel(self.root, 0)

    def show_playbook(self, playbook: Playbook) -> None:
        """Show another tree, as a person has edited it; the same one stays as it is, walked to wherever it was."""
        if playbook == self._playbook:
            return
        self._playbook = playbook
        self._taken = []
        self.reset("", ("", playbook.start))
        self._grow(self.root)
        self.root.expand()

    def mark(self, position: Position | None) -> None:
        """Open and mark the path that was taken, and unmark the one before."""
        taken = _branches(self._playbook.start, position) if position else []
        if taken == self._taken:
            return
        self._words = position.words if position else self._words
        for branches, is_taken in ((self._taken, False), (taken, True)):
            node = self.root
            for depth, branch in enumerate(branches):
                if depth:
                    node = next(child for child in node.children if child.data == branch)
                node.set_label(self._label(branch, is_taken))
                if is_taken and node.children:
                    node.expand()
        self._taken = taken

    def _grow(self, at: TreeNode[Branch]) -> None:
        assert at.data is not None
        at.set_label(self._label(at.data, False))
        for branch in self._playbook.node[at.data[1]].answers.items():
            is_leaf = not self._playbook.node[branch[1]].answers
            self._grow(at.add("", data=branch, allow_expand=not is_leaf))

    def _relabel(self, node: TreeNode[Branch], depth: int) -> None:
        assert node.data is not None
        is_taken = self._taken[depth : depth + 1] == [node.data]
        node.set_label(self._label(node.data, is_taken))
        for child in node.children:
            self._relabel(child, depth + 1 if is_taken else len(self._taken))

    def _label(self, branch: Branch, is_taken: bool) -> Text:
        answer, name = branch
        node = self._playbook.node[name]
        words = say(fill(node.question or node.title, self._words), plain=self._plain).plain
        label = f"{answer}: {words}" if answer else words
        return Text(f"* {label}" if is_taken else label, "bold" if is_taken else "")


def _branches(start: str, position: Position) -> list[Branch]:
    names = [step.node for step in position.path[1:]] + [position.node]
    answers = [step.branch for step in position.path]
    return [("", start), *zip(answers, names, strict=True)] if position.path else [("", start)]
