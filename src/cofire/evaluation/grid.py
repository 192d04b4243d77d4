"""One cell of a comparison: which method, where, with which settings."""

import re
from dataclasses import dataclass, replace
from typing import Any

from cofire.site import Site

SettingValue = str | int | float | bool


@dataclass(frozen=True)
class GridCell:
    """A dictionary of a comparison.

    Attributes:
        method: its registered name.
        settings: further settings of the method, by name.
        site: where its rows are from.
        n_components: features asked for; None where the method decides itself.
        sparsity: share of channels an atom keeps; None where the method has no such setting.
        seed: of everything random.
    """

    method: str
    settings: tuple[tuple[str, SettingValue], ...]
    site: Site
    n_components: int | None
    sparsity: float | None
    seed: int

    @property
    def variant(self) -> str:
        """Method with its further settings, as in ``snmf:solver=mu``."""
        return ":".join([self.method, *(f"{name}={value}" for name, value in self.settings)])

    @property
    def group(self) -> "GridCell":
        """The same for every seed: the cell with seed 0."""
        return replace(self, seed=0)

    @property
    def name(self) -> str:
        """A name for a folder; no two cells of one comparison share it.

        >>> GridCell("snmf", (("solver", "mu"),), Site(5), 100, 0.01, 2).name
        'snmf-solver-mu-mlp-L5-k100-s0.01-seed2'
        """
        parts = [re.sub(r"[^A-Za-z0-9.]+", "-", self.variant)]
        parts += [f"{self.site.kind}-L{self.site.layer}"]
        parts += [] if self.n_components is None else [f"k{self.n_components}"]
        parts += [] if self.sparsity is None else [f"s{self.sparsity:g}"]
        return "-".join([*parts, f"seed{self.seed}"])

    def record(self) -> dict[str, Any]:
        """Plain JSON values; ``from_record`` takes them back."""
        return {
            "method": self.method,
            "settings": dict(self.settings),
            "site": self.site.name,
            "n_components": self.n_components,
            "sparsity": self.sparsity,
            "seed": self.seed,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "GridCell":
        """Put together what ``record`` took apart."""
        parts = {**record, "site": Site.parse(record["site"])}
        return cls(**{**parts, "settings": tuple(record["settings"].items())})

    def columns(self) -> dict[str, Any]:
        """The cell's place in a table."""
        return {
            "method": self.variant,
            "layer": self.site.layer,
            "k": self.n_components,
            "sparsity": self.sparsity,
            "seed": self.seed,
        }
