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
            layout: Whether it may take more or fewer lines than what is shown. Only where it does is the screen laid
                out, and painted, anew.
        """
        markup = content.markup  # equality of contents leaves out their styles
        if markup != self._shown:
            self._shown = markup
            self.update(content, layout=layout and not self._takes_its_place(content))

    def _takes_its_place(self, content: Content) -> bool:
        width, height = self.size
        is_fixed = width > 0 and not self.styles.is_auto_width  # else its width is its widest line's
        return is_fixed and content.get_height(self.styles.get_render_rules(), width) == height
