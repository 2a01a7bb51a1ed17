"""A chart as PNG, for a chat or a slide: the SVG, drawn by the resvg library where that is installed."""

from __future__ import annotations

ZOOM = 2
"""Pixels to a unit of the SVG: text stays sharp on a dense screen."""
HOW_TO_GET = "for PNG as well: pip install 'lvm-tui[png]'"
NO_FONT = "no PNG: none of its fonts is on this machine; install the DejaVu or Liberation fonts"
_LETTER = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20" font-family="{}">{}</svg>'


def png_of(svg: str, fonts: str) -> tuple[bytes, str]:
    """The picture, and why there is none: the library is missing, or this machine has no font to write with.

    Args:
        svg: the document.
        fonts: the font families that it asks for, as it does.
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        return b"", HOW_TO_GET
    written, blank = (bytes(svg_to_bytes(_LETTER.format(fonts, text))) for text in ('<text y="15">M</text>', ""))
    if written == blank:  # the library leaves letters out without a word
        return b"", NO_FONT
    return bytes(svg_to_bytes(svg, background="white", zoom=ZOOM)), ""
