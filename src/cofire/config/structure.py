"""Settings of the commands that ask how features hang together: core, reuse, flow."""

from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from cofire.config.base import ListingConfig, RunFolder

_Draws = Annotated[int, tyro.conf.arg(metavar="N")]


class CoreConfig(ListingConfig):
    """Show which neurons some features share and which each has to itself.

    A core neuron is held, with the same sign, by at least half of the features (--share); an
    exclusive one by a single feature. Overlaps are held against two kinds of chance: neurons drawn
    evenly, and neurons that are reused as often as they are in this run. With --causal both kinds
    of neurons are amplified in the model, and held at their mean, and the logits of each feature's
    tokens are read, beside controls of other neurons. The result is a page and a JSON file in the
    run folder (structure/); the report shows it too. With the same command interrupted work goes
    on.

    Examples:

        cofire core runs/demo --layer 11 --features 3,17,41

        cofire core runs/demo --layer 5 --concept weekday

        cofire core runs/demo --layer 5 --concept weekday --causal
    """

    run: RunFolder = Field(description="Run folder.")
    layer: int | None = Field(None, description="Layer; needed when the run has several.")
    features: Annotated[str | None, tyro.conf.arg(metavar="N,N,...")] = Field(
        None, description="The features, at least two."
    )
    concept: str | None = Field(
        None,
        description="Instead of --features: those named after this concept of the texts or, where "
        "there are several of them, after its details (the days of weekday).",
    )
    share: float = Field(
        0.5, description="Share of the features that must hold a core neuron, 0 to 1."
    )
    keep: float | None = Field(
        None,
        description="Share of the neurons of a feature that count, the largest; needed for methods "
        "with dense atoms.",
    )
    draws: _Draws = Field(
        999, ge=20, description="Random dictionaries of the null that keeps reuse."
    )
    causal: Annotated[bool, tyro.conf.FlagCreatePairsOff] = Field(
        False, description="Amplify and ablate core and exclusive neurons in the model."
    )
    kl: float = Field(
        0.25,
        description="With --causal: how far the next-token distribution is moved, in nats; the "
        "same for all rows, so that they compare.",
    )
    prompts: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = Field(
        None, description="With --causal: a text file of prompts, one a line. Default: 12 of ours."
    )
    control_draws: _Draws = Field(
        1, ge=1, description="With --causal: control groups of each kind for every prompt."
    )
    device: str = Field("auto", description="With --causal: auto, cpu, cuda, cuda:N or mps.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")


class ReuseConfig(ListingConfig):
    """Show how many features each neuron serves, and which features form families.

    Compared with two nulls: do some neurons serve more features than even draws would give, and do
    features share more neurons than such reuse explains? Families are found by shared neurons, rare
    ones counting more, and tested for concepts that are common in them. Without --layer all layers
    of the run. The result is a page and a JSON file in the run folder (structure/).

    Examples:

        cofire reuse runs/demo --layer 11

        cofire reuse runs/demo --json
    """

    run: RunFolder = Field(description="Run folder.")
    layer: int | None = Field(None, description="Layer; all when left out.")
    keep: float | None = Field(
        None,
        description="Share of the neurons of a feature that count, the largest; needed for methods "
        "with dense atoms.",
    )
    draws: _Draws = Field(999, ge=20, description="Random dictionaries of each null.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")


class FlowConfig(ListingConfig):
    """Follow features from layer to layer: born, passed on, split, merged, gone.

    Features of neighbouring layers of the run are linked when their codes go together on the
    training tokens, above a null of shuffled codes, and the held-out tokens confirm it. Whether the
    weights join them through the residual stream is measured beside it. With --stack several layers
    are factorised at once instead, into features that may have neurons in any of them. The result
    is a page with a Sankey plot and a JSON file in the run folder (structure/).

    Examples:

        cofire flow runs/demo

        cofire flow runs/all --concept weekday

        cofire flow runs/all --stack 0-5
    """

    run: RunFolder = Field(description="Run folder with features of several layers.")
    layers: str | None = Field(
        None, description="Layers to follow, such as 0-5 or 3,5,9. Default: all of the run."
    )
    correlation: float = Field(
        0.4, description="Least correlation of the codes of two linked features."
    )
    concept: str | None = Field(
        None,
        description="Draw only what is linked with features named after this concept or a detail "
        "of it.",
    )
    weights: bool = Field(
        True, description="Load the model and compare with its weights; --no-weights leaves it out."
    )
    stack: Annotated[str | None, tyro.conf.arg(metavar="LAYERS")] = Field(
        None,
        description="Factorise these layers at once, such as 0-5. Rows are captured again, unless "
        "the run was made from a folder of `cofire capture` that holds them.",
    )
    n_components: Annotated[int | None, tyro.conf.arg(aliases=["-k"])] = Field(
        None, description="With --stack: number of features. Default: as in the run."
    )
    sparsity: float | None = Field(
        None,
        description="With --stack: share of all neurons a feature keeps. Default: as in the run.",
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")
