"""Text that is shown again only where it differs, and laid out again only where it needs other room."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.content import Content
from textual.widgets import Static

from tui.widgets.steady_text import SteadyText


class OneText(App[None]):
    """A text above another."""

    def compose(self) -> ComposeResult:
        yield SteadyText()
        yield Static("below")


@pytest.mark.parametrize(
    ("text", "layouts"),
    [("1 line", []), ("2 lines", [False]), ("two\nlines", [True]), ("x" * 25, [True]), ("", [False])],
)
async def test_only_what_needs_other_room_has_the_screen_laid_out(
    text: str, layouts: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = OneText()
    async with app.run_test(size=(20, 5)) as pilot:
        shown = app.query_one(SteadyText)
        shown.show(Content("1 line"))
        await pilot.pause()
        asked: list[bool] = []
        update = SteadyText.update

        def noted(widget: SteadyText, content: Content, *, layout: bool = True) -> None:
            asked.append(layout)
            update(widget, content, layout=layout)

        monkeypatch.setattr(SteadyText, "update", noted)
        shown.show(Content(text))
        await pilot.pause()
        assert asked == layouts
        lines = [text[:20], text[20:]] if len(text) > 20 else text.split("\n")
        assert [shown.render_line(row).text.rstrip() for row in range(shown.size.height)] == lines


async def test_a_text_as_wide_as_its_widest_line_gets_the_room_it_needs() -> None:
    app = OneText()
    async with app.run_test(size=(80, 8)) as pilot:
        shown = app.query_one(SteadyText)
        shown.styles.width = "auto"
        for text in ("\n".join(["x" * 30] * 3), "\n".join(["x" * 60] * 2), "\n".join(["x" * 10] * 2)):
            shown.show(Content(text))
            await pilot.pause()
            lines = text.split("\n")
            assert shown.size == (len(lines[0]), len(lines)), "as high as wrapped in the width before, some of them"
