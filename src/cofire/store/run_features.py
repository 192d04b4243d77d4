"""Features of a run by site, or by number where the run has one site."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from cofire.interpret.reading import Feature, FeatureSet
from cofire.site import Site


@dataclass(frozen=True, eq=False)
class RunFeatures:
    """What ``Run.features`` gives: called with a site its features, else those of the only site.

    Attributes:
        read: gives the features of a site.
        only: gives the run's only site, or says that there are several.
    """

    read: Callable[[Site], FeatureSet]
    only: Callable[[], Site]

    def __call__(self, site: Site) -> FeatureSet:
        """The features of one site."""
        return self.read(site)

    @overload
    def __getitem__(self, index: int) -> Feature: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Feature]: ...
    def __getitem__(self, index: int | slice) -> Feature | Sequence[Feature]:
        return self.read(self.only())[index]

    def __len__(self) -> int:
        return len(self.read(self.only()))

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.read(self.only()))

    def search(self, text: str) -> list[Feature]:
        """As ``FeatureSet.search``, of the only site."""
        return self.read(self.only()).search(text)

    def _repr_html_(self) -> str:
        return self.read(self.only())._repr_html_()
