"""What eyes make of colours: contrast as WCAG counts it, and how far apart two colours are to whom.

Written from the published formulas alone, so that the room's themes are judged by something else than themselves.
"""

from __future__ import annotations

from itertools import combinations

from textual.color import Color

Lab = tuple[float, float, float]

VISIONS: dict[str, tuple[tuple[float, float, float], ...]] = {
    # linear RGB to linear RGB; severity 1.0 of Machado, Oliveira and Fernandes (2009)
    "full colour": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def linear(color: str) -> tuple[float, float, float]:
    """Linear RGB in [0, 1] of an sRGB colour."""
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (part / 255 for part in Color.parse(color).rgb)
    )
    return red, green, blue


def luminance(color: str) -> float:
    """Relative luminance, WCAG 2.2."""
    red, green, blue = linear(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio, WCAG 2.2: 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def seen(color: str, vision: str) -> Lab:
    """CIE L*a*b* (D65) of a colour as somebody with this vision has it."""
    rgb = linear(color)
    red, green, blue = (
        min(1.0, max(0.0, sum(weight * part for weight, part in zip(row, rgb, strict=True)))) for row in VISIONS[vision]
    )
    x = (0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047
    y = 0.2126729 * red + 0.7151522 * green + 0.0721750 * blue
    z = (0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883

    def f(value: float) -> float:
        return value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116

    return 116 * f(y) - 16, 500 * (f(x) - f(y)), 200 * (f(y) - f(z))


def nearest_pair(colors: dict[str, str], vision: str) -> tuple[float, str, str]:
    """The two of these that are hardest to tell apart, and their CIE76 distance (2.3 is just noticeable)."""

    def distance(one: str, other: str) -> float:
        pairs = zip(seen(colors[one], vision), seen(colors[other], vision), strict=True)
        return sum((a - b) ** 2 for a, b in pairs) ** 0.5

    return min((distance(one, other), one, other) for one, other in combinations(colors, 2))
