"""Draws the evidence about guarded canaries, from simulated rollouts by the real arithmetic:

python -m benchmarks.guard_plot docs/assets/guarded-canary.svg
"""

import sys
from pathlib import Path
from typing import Final

import numpy as np

from monitoring.evidence import Floats, begin, bet, family, log_e_value
from monitoring.proportions import ODDS, above_control, counts, expected_share

STABLE: Final = 0.02
SHARE: Final = 0.05
BATCH: Final = 400
BATCHES: Final = 150
ROLLOUTS: Final = 400
ALPHA: Final = 0.01
TESTS: Final = 2
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 360, 64, 48, 24
LOWEST, HIGHEST = -1.0, 6.0
"""Powers of ten that are shown."""


def evidence(canary: float, seed: int) -> Floats:
    """Powers of ten of the family's e-value, by rollout and batch."""
    random = np.random.default_rng(seed)
    wealth, found = begin(len(ODDS), (ROLLOUTS,)), []
    seen, harmed = np.zeros(ROLLOUTS), np.zeros(ROLLOUTS)
    for _ in range(BATCHES):
        n_c = random.binomial(BATCH, SHARE, ROLLOUTS)
        n_s = BATCH - n_c
        x_c, x_s = random.binomial(n_c, canary), random.binomial(n_s, STABLE)
        expected = expected_share(counts(seen, harmed))
        log_e = above_control(counts(n_c, x_c), counts(n_s, x_s), expected, 0.0)
        wealth = bet(wealth, log_e)
        seen, harmed = seen + n_s, harmed + x_s
        alone = log_e_value(wealth)[:, None]
        found.append(family(np.concatenate([alone, np.zeros((ROLLOUTS, TESTS - 1))], axis=-1)))
    powers: Floats = np.stack(found, axis=-1) / np.log(10)
    return powers


def _point(batch: float, power: float) -> str:
    x = LEFT + (WIDTH - LEFT - 16) * batch / BATCHES
    shown = min(max(power, LOWEST), HIGHEST)
    y = TOP + (HEIGHT - TOP - BOTTOM) * (HIGHEST - shown) / (HIGHEST - LOWEST)
    return f"{x:.1f},{y:.1f}"


def _band(found: Floats, colour: str, name: str, at: float) -> list[str]:
    """The middle nine tenths of the rollouts, and their median."""
    low, middle, high = (np.quantile(found, share, axis=0) for share in (0.05, 0.5, 0.95))
    edge = [_point(i + 1, p) for i, p in enumerate(high)]
    edge += [_point(i + 1, p) for i, p in reversed(list(enumerate(low)))]
    line = " ".join(_point(i + 1, p) for i, p in enumerate(middle))
    x, y = _point(BATCHES * 0.97, at).split(",")
    return [
        f'<polygon points="{" ".join(edge)}" fill="{colour}" opacity="0.18"/>',
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>',
        f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="end">{name}</text>',
    ]


def draw() -> str:
    """The plot as SVG."""
    threshold = -np.log10(ALPHA)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for power in range(int(LOWEST), int(HIGHEST) + 1):
        x, y = _point(0, power).split(",")
        parts.append(f'<path d="M{x} {y}H{WIDTH - 16}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{LEFT - 8}" y="{float(y) + 4}" text-anchor="end">{10.0**power:g}</text>'
        )
    for answered in (0, 1000, 2000, 3000):
        x, _ = _point(answered / (BATCH * SHARE), LOWEST).split(",")
        parts.append(
            f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{answered}</text>'
        )
    start, end = _point(0, threshold), _point(BATCHES, threshold)
    parts.append(f'<path d="M{start}L{end}" stroke="#333" stroke-dasharray="5 4"/>')
    x, y = start.split(",")
    parts.append(
        f'<text x="{float(x) + 8}" y="{float(y) - 6}">rolled back from here on (alpha 0.01)</text>'
    )
    parts += _band(evidence(STABLE, 1), "#2563a8", "2 % errors, as stable", 0.25)
    parts += _band(evidence(2 * STABLE, 2), "#b4341f", "4 % errors, twice stable's", 5.2)
    parts += [
        (
            f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">'
            "requests that the canary has answered (5 % of the traffic); "
            f"median and middle 90 % of {ROLLOUTS} rollouts</text>"
        ),
        (
            f'<text x="14" y="{HEIGHT / 2}" transform="rotate(-90 14 {HEIGHT / 2})" '
            'text-anchor="middle">evidence of harm (e-value)</text>'
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw())
