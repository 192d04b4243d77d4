"""Words, colours and plots that the pages below docs/results share."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

from cofire.interpret.wording import MISSING, figure

PAGE = Path(__file__).parent.parent / "docs" / "results" / "structure.md"
FIGURES = PAGE.parent / "figures"
INK, ACCENT, SECOND, GREY = "#444b59", "#c2410c", "#2563a8", "#b4b4ad"

SURE = 0.05
"""Below this a difference counts as found; the page says where it is corrected for many tests."""

Record = Mapping[str, Any]


WORDS = frozenset(
    ("leaves", "way", "tree", "amplified", "held at the mean", "figure", "control", "rows", "step")
)
"""Columns of tables that hold words."""


def plot_style() -> None:
    """Set how plots look."""
    plt.rcParams |= {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "figure.facecolor": "white",
        "svg.hashsalt": "cofire",
        "legend.frameon": False,
    }


def save(plot: Any, name: str, says: str) -> str:
    """Write the plot; returns the Markdown that shows it."""
    plot.tight_layout()
    plot.savefig(FIGURES / f"{name}.svg", metadata={"Date": None})
    plt.close(plot)
    return f"![{says}](figures/{name}.svg)"


def middle(values: Iterable[float | None], digits: int = 2) -> str:
    """Median of what is known."""
    known = [value for value in values if value is not None]
    return figure(statistics.median(known), digits) if known else MISSING


def share(value: float | None) -> str:
    """A share as per cent."""
    return MISSING if value is None else f"{value:.0%}"


def at_layers(layers: Sequence[int]) -> str:
    """Layers with the word before them.

    >>> at_layers([3]), at_layers([0, 1, 2])
    ('layer 3', 'layers 0-2')
    """
    return f"layer{'' if len(layers) == 1 else 's'} {listed(layers)}"


def listed(layers: Sequence[int]) -> str:
    """Layers in order, neighbours as ranges.

    >>> listed([0, 1, 2, 5, 7, 8])
    '0-2, 5, 7, 8'
    """
    runs: list[list[int]] = [[layer] for layer in layers[:1]]
    for before, layer in pairwise(layers):
        if layer == before + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    )
