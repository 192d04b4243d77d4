"""What a comparison's page and its Markdown tables show: themes, their measures, lines, tests."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow.parquet as pq

from cofire.errors import StoreError
from cofire.evaluation.grid_measures import GRID_MEASURES
from cofire.interpret.wording import MISSING, figure
from cofire.store import CompareFolder

Axes: TypeAlias = tuple[str, int, int | None, float | None]
"""Method with its settings, layer, k, sparsity."""

Measured: TypeAlias = tuple[str, str | None]
"""A measure, and the score it is by where there are two."""

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Theme:
    """Measures that are read together; the first of them is drawn."""

    title: str
    words: str
    measures: tuple[Measured, ...]
    drawn: tuple[Measured, ...]


THEMES = (
    Theme(
        "Reconstruction",
        "How much of held-out rows the features give back, with how many of them at once.",
        (
            ("unexplained-variance", None),
            ("active-features", None),
            ("unexplained-variance-equal", None),
            ("active-features-equal", None),
            ("dead-share", None),
            ("duplicate-share", None),
            ("fit-seconds", None),
        ),
        (("unexplained-variance", None), ("unexplained-variance-equal", None)),
    ),
    Theme(
        "In the activation's place",
        "What the model's predictions keep when the reconstruction replaces the activation: 1 when "
        "nothing is lost, 0 when it is no better than the mean row (or zeros), below 0 when worse.",
        (
            ("loss-recovered-mean", None),
            ("loss-recovered-zero", None),
            ("divergence-recovered-mean", None),
            ("divergence-recovered-zero", None),
            ("loss-recovered-mean-equal", None),
            ("divergence-recovered-mean-equal", None),
        ),
        (("divergence-recovered-mean", None), ("divergence-recovered-mean-equal", None)),
    ),
    Theme(
        "Detection of features' own concepts",
        "Every feature is tested, on held-out sentences, for the concept that its codes select "
        "best on training sentences.",
        (
            ("concept-detection", "cosine"),
            ("detected-share", "cosine"),
            ("detection-auroc", "cosine"),
            ("detection-precision", "cosine"),
            ("concept-detection", "codes"),
            ("detected-share", "codes"),
            ("detection-auroc", "codes"),
            ("detection-precision", "codes"),
        ),
        (("concept-detection", "cosine"), ("detection-auroc", "codes")),
    ),
    Theme(
        "Best feature for each concept",
        "For every labelled concept, the feature that is best on training sentences, judged on "
        "held-out ones: the same concepts for all methods.",
        (
            ("concept-auroc", "cosine"),
            ("concept-precision", "cosine"),
            ("concept-order", "cosine"),
            ("concept-auroc", "codes"),
            ("concept-precision", "codes"),
        ),
        (("concept-auroc", "cosine"), ("concept-auroc", "codes")),
    ),
    Theme(
        "Detection on written sentences",
        "Features drawn at random, each tested on sentences that a language model wrote with and "
        "without what the feature is said to be; nobody has checked them.",
        (
            ("written-detection", "cosine"),
            ("written-share", "cosine"),
            ("written-auroc", "cosine"),
            ("written-detection", "codes"),
            ("written-share", "codes"),
            ("written-auroc", "codes"),
        ),
        (("written-detection", "cosine"),),
    ),
    Theme(
        "Stability",
        "Do other seeds, and other texts, find the same features? Beside the agreement that "
        "neuron-permuted atoms reach.",
        (
            ("stability", None),
            ("stability-null", None),
            ("stability-excess", None),
            ("stability-halves", None),
            ("stability-halves-excess", None),
        ),
        (("stability-excess", None), ("stability-halves-excess", None)),
    ),
    Theme(
        "Steering",
        "What the model writes and predicts when features are added to its activations, at matched "
        "KL divergence.",
        (
            ("steering-score", None),
            ("steering-gain", None),
            ("steering-best", None),
            ("steering-published", None),
            ("steering-shift", None),
            ("steering-efficiency", None),
            ("steering-unreached", None),
            ("steering-unjudged", None),
        ),
        (("steering-gain", None), ("steering-efficiency", None)),
    ),
)


@dataclass(frozen=True)
class Line:
    """One line of a table: what it is of, and its figures by measure; None where there is none."""

    axes: Axes
    name: str
    seeds: int
    figures: Mapping[Measured, Mapping[str, Any]]


@dataclass(frozen=True)
class CompareTables:
    """The stored results of a comparison, ready to be shown.

    Attributes:
        lines: a line a method and setting, layers together, in the order of the plan.
        tests: the stored comparisons.
        reference: method that the others are compared with.
    """

    lines: tuple[Line, ...]
    tests: tuple[Mapping[str, Any], ...]
    reference: str

    @classmethod
    def read(cls, folder: CompareFolder) -> "CompareTables":
        """Read the results of a comparison.

        Raises:
            StoreError: when there are none.
        """
        path = folder.path / "results.parquet"
        if not path.is_file():
            raise StoreError(f"{folder.path} has no results yet; run its compare command again.")
        rows = [row for row in pq.read_table(path).to_pylist() if row["seed"] is None]
        found: dict[Axes, dict[Measured, dict[str, Any]]] = {}
        seeds: dict[Axes, int] = {}
        for row in rows:
            axes = (row["method"], row["layer"], row["k"], row["sparsity"])
            found.setdefault(axes, {})[row["measure"], row["score"]] = row
            seeds[axes] = max(seeds.get(axes, 0), row["seeds"])
        several = tuple(len({axes[i] for axes in found} - {None}) > 1 for i in (2, 3))
        lines = tuple(
            Line(axes, _name(axes, several), seeds[axes], figures)
            for axes, figures in sorted(found.items(), key=lambda item: item[0][1])
        )
        tests = pq.read_table(folder.path / "comparisons.parquet").to_pylist()
        return cls(lines, tuple(tests), str(folder.manifest.get("reference") or ""))

    @property
    def layers(self) -> list[int]:
        """Layers, in order."""
        return sorted({line.axes[1] for line in self.lines})

    def at(self, layer: int) -> list[Line]:
        """The lines of one layer."""
        return [line for line in self.lines if line.axes[1] == layer]

    def measured(self, theme: Theme) -> list[Measured]:
        """The measures of a theme that any line has."""
        return [one for one in theme.measures if any(one in line.figures for line in self.lines)]

    def tests_of(self, measured: Measured) -> list[Mapping[str, Any]]:
        """The tests on one measure."""
        return [test for test in self.tests if (test["measure"], test["score"]) == measured]


def _name(axes: Axes, several: tuple[bool, ...]) -> str:
    method, _, k, sparsity = axes
    parts = [method]
    parts += [f"k {k}"] if several[0] and k is not None else []
    parts += [f"{100 * sparsity:g}%"] if several[1] and sparsity is not None else []
    return ", ".join(parts)


def measure_title(measured: Measured) -> str:
    """A measure's short name, with the score it is by."""
    title = GRID_MEASURES[measured[0]].title
    return title if measured[1] is None else f"{title}, {measured[1]}"


def shown(row: Mapping[str, Any] | None) -> str:
    """A figure with its interval, as ``0.93 [0.90, 0.95]``, and how many it lacks."""
    if row is None or row["value"] is None:
        return MISSING
    text = figure(row["value"])
    if row["low"] is not None:
        text += f" [{figure(row['low'])}, {figure(row['high'])}]"
    if row["missing"]:
        text += f" ({row['n']} of {row['n'] + row['missing']})"
    return text


def markdown_tables(tables: CompareTables, *, level: int = 2) -> str:
    """All tables as Markdown: a table a theme, and one of the tests.

    Args:
        tables: what to show.
        level: of the headings.
    """
    blocks: list[str] = []
    for theme in THEMES:
        measures = tables.measured(theme)
        if not measures:
            continue
        head = ["layer", "method", *map(measure_title, measures)]
        rows = [
            [str(line.axes[1]), line.name, *(shown(line.figures.get(one)) for one in measures)]
            for line in tables.lines
        ]
        blocks += [f"{'#' * level} {theme.title}", theme.words, markdown_table(head, rows)]
    if tables.tests:
        blocks += [
            f"{'#' * level} Tests against {tables.reference}",
            "Difference is the reference minus the method. p is two-sided and corrected for all "
            "tests of the measure, over layers too (Holm). Concepts are paired (Wilcoxon); "
            "features have no partner in another method; those of the first seed are compared by "
            "rank (Mann-Whitney).",
            markdown_table(TEST_HEAD, [test_row(test) for test in tables.tests]),
        ]
    return "\n\n".join(blocks) + "\n"


TEST_HEAD = [
    *("measure", "layer", "method", "against", "difference", "p", "p corrected"),
    *("Cliff's δ", "reference scored", "method scored"),
]


def test_row(test: Mapping[str, Any]) -> list[str]:
    """One test as the cells of a line."""
    names = [
        _name((test[f"{side}method"], 0, test[f"{side}k"], test[f"{side}sparsity"]), several)
        for side, several in (("", _differ(test)), ("reference_", _differ(test)))
    ]
    return [
        measure_title((test["measure"], test["score"])),
        str(test["layer"]),
        *names,
        shown({**test, "value": test["difference"], "missing": 0}),
        _p(test["p_value"]),
        _p(test["corrected_p_value"]),
        figure(test["cliffs_delta"], 2),
        f"{test['reference_scored']} of {test['reference_total']}",
        f"{test['scored']} of {test['total']}",
    ]


def _differ(test: Mapping[str, Any]) -> tuple[bool, ...]:
    return tuple(
        test[name] is not None and test[name] != test[f"reference_{name}"]
        for name in ("k", "sparsity")
    )


def significant(corrected_p_value: float | None) -> bool:
    """Whether a test is a finding; one that could not be made is none.

    >>> significant(0.0), significant(0.2), significant(None)
    (True, False, False)
    """
    return corrected_p_value is not None and corrected_p_value < SIGNIFICANT


def _p(value: float | None) -> str:
    if value is None:
        return MISSING
    return "< 0.0001" if value < 0.0001 else figure(value, 2)


_WORDS = frozenset("layer method measure against trend rule verdict figures stage".split())


def markdown_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, words: Collection[str] = _WORDS
) -> str:
    """A Markdown table; columns that hold figures, and no words, are aligned right."""
    line = ["---" if name in words else "---:" for name in head]
    return "\n".join(f"| {' | '.join(row)} |" for row in [list(head), line, *map(list, rows)])
