"""Where in a model activations are read or changed, spelled as TransformerLens hook points."""

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from cofire.errors import InputError

SiteKind: TypeAlias = Literal["mlp", "mlp_out", "attn", "resid_pre", "resid_post"]

# TransformerLens spelling of each kind, so that names agree with SAELens and Neuronpedia records.
_HOOK_POINTS: dict[SiteKind, str] = {
    "mlp": "mlp.hook_post",
    "mlp_out": "hook_mlp_out",
    "attn": "attn.hook_z",
    "resid_pre": "hook_resid_pre",
    "resid_post": "hook_resid_post",
}
_KIND_OF: dict[str, SiteKind] = {hook: kind for kind, hook in _HOOK_POINTS.items()}
_NAME = re.compile(r"blocks\.(\d+)\.(.+)")


@dataclass(frozen=True, order=True)
class Site:
    """One place in a decoder: a layer and a kind.

    ``mlp`` is the MLP's hidden layer after the non-linearity and gate (what the down-projection
    reads), ``mlp_out`` what the MLP adds to the residual stream, ``attn`` the concatenated head
    outputs before the output projection, ``resid_pre`` / ``resid_post`` the residual stream
    before / after the block.

    >>> Site(9, "mlp").name
    'blocks.9.mlp.hook_post'
    >>> Site.parse("blocks.9.mlp.hook_post")
    Site(layer=9, kind='mlp')
    """

    layer: int
    kind: SiteKind = "mlp"

    def __post_init__(self) -> None:
        if self.layer < 0:
            raise InputError(f"A layer is counted from 0; got {self.layer}.")
        if self.kind not in _HOOK_POINTS:
            raise InputError(
                f"Unknown site kind {self.kind!r}; choose one of {', '.join(get_args(SiteKind))}."
            )

    @property
    def name(self) -> str:
        """The TransformerLens hook point, e.g. ``blocks.9.mlp.hook_post``."""
        return f"blocks.{self.layer}.{_HOOK_POINTS[self.kind]}"

    @classmethod
    def parse(cls, name: str) -> "Site":
        """Read a hook point name.

        Raises:
            InputError: when the name is no known hook point.
        """
        match = _NAME.fullmatch(name)
        if match is None or match[2] not in _KIND_OF:
            known = ", ".join(f"blocks.N.{hook}" for hook in _HOOK_POINTS.values())
            raise InputError(f"{name!r} is not a site; known sites are {known}.")
        return cls(int(match[1]), _KIND_OF[match[2]])

    def __str__(self) -> str:
        return self.name


def parse_layers(text: str, n_layers: int | None = None) -> list[int]:
    """Read a list of layers such as ``0,9-12`` or ``all``; sorted, each once.

    Args:
        text: comma-separated layers and inclusive ranges, counted from 0, or ``all``.
        n_layers: number of layers of the model; needed for ``all``, checked when given.

    Raises:
        InputError: when the text is not such a list, or a layer does not exist.

    >>> parse_layers("0,9-12")
    [0, 9, 10, 11, 12]
    """
    if text.strip() == "all":
        if n_layers is None:
            raise InputError("'all' layers needs a model to count them.")
        return list(range(n_layers))
    return parse_numbers(text, "layers", n_layers)


def parse_numbers(text: str, what: str, count: int | None = None) -> list[int]:
    """Read a list of numbers such as ``0,9-12``; sorted, each once.

    Args:
        text: comma-separated numbers and inclusive ranges, counted from 0.
        what: what is counted, in the plural, for messages.
        count: how many there are; checked when given.

    Raises:
        InputError: when the text is not such a list, or a number is too large.

    >>> parse_numbers("3,17-19", "features", 20)
    [3, 17, 18, 19]
    """
    numbers: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", part)
        if match is None:
            every = " or all" if what == "layers" else ""
            raise InputError(f"Cannot read {what} {text!r}; write for example 0,9-12{every}.")
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if last < first:
            one = what.removesuffix("s").capitalize()
            raise InputError(f"{one} range {part.strip()!r} runs backwards; write {last}-{first}.")
        if count is not None and last >= count:
            source = "the model" if what == "layers" else "this layer"
            raise InputError(
                f"{what.removesuffix('s').capitalize()} {last} does not exist: {source} has "
                f"{count} {what}, 0 to {count - 1}."
            )
        numbers.update(range(first, last + 1))
    return sorted(numbers)
