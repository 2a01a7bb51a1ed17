"""Text that is drawn again only when it says something else."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static


class SteadyText(Static):
    """A Static for content that is made anew at every tick and mostly comes out the same."""

    _shown = ""

    def show(self, content: Content, *, layout: bool = True) -> None:
        """Show `content`; nothing happens if it is what is shown already.

        Args:
            content: What to show.
            layout: Whether its size may differ from what is shown; False spares a layout of the whole screen.
        """
        markup = content.markup  # equality of contents leaves out their styles
        if markup != self._shown:
            self._shown = markup
            self.update(content, layout=layout)
