"""Everything there is to read about the features of one dictionary, put together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from cofire.activations import Activations
from cofire.dictionary import Dictionary
from cofire.errors import InputError
from cofire.evaluation.fidelity import Fidelity, fidelity
from cofire.evaluation.health import health
from cofire.interpret.concepts import ConceptMatch, concept_profile
from cofire.interpret.contexts import Context, ContextFinder, firing_types
from cofire.interpret.display import card_html, feature_html, table_html
from cofire.interpret.labels import offline_label
from cofire.interpret.vocabulary import VocabularyProjection, project_on_vocabulary
from cofire.interpret.wording import MISSING, figure
from cofire.progress import SILENT, Progress
from cofire.site import Site
from cofire.types import AtomMatrix, CodeMatrix

if TYPE_CHECKING:  # features are read from disk without a model; its import takes seconds
    from cofire.models import LanguageModel

ONE_TOKEN_SHARE = 0.9
"""A feature is a one-token feature when this share of its strong firings are one token type."""

_TABLE_FEATURES = 20  # in a notebook
_ONE_TOKEN_FIRINGS = 3  # strong firings below which that share says nothing


@dataclass(frozen=True)
class Feature:
    """One feature, read.

    A feature is read on its positive side only. That is all there is where codes are ≥ 0; where a
    method gives signed codes (PCA, ICA), contexts, token types, density, largest code and AUROC say
    nothing about what its negative codes stand for, and a component that is only ever negative
    counts as dead.

    Attributes:
        index: its row among the atoms.
        label: the offline label.
        concept: the concept it selects best, None without labels.
        concept_scores: (concept, AUROC on training texts, on held-out texts), best first; None
            for what could not be measured.
        contexts: top contexts, strongest first.
        quantile_contexts: contexts at lower quantiles of its positive codes, none of the top ones.
        neurons: (channel, weight) of the group, largest magnitude first.
        vocabulary: promoted and demoted tokens, None away from an MLP site.
        firing_types: (token type, count) of its strong firings, most frequent first.
        density: share of training rows with a code above 0.
        max_code: its largest code on the training rows.
        dead: never active.
        nearest: the feature with the most similar atom.
        nearest_cosine: absolute cosine to it.
        duplicate: whether that makes them duplicates.
        one_token: whether nearly all strong firings, of three or more, are one token type.
    """

    index: int
    label: str
    concept: ConceptMatch | None
    concept_scores: tuple[tuple[str, float | None, float | None], ...]
    contexts: tuple[Context, ...]
    quantile_contexts: tuple[Context, ...]
    neurons: tuple[tuple[int, float], ...]
    vocabulary: VocabularyProjection | None
    firing_types: tuple[tuple[str, int], ...]
    density: float
    max_code: float
    dead: bool
    nearest: int
    nearest_cosine: float
    duplicate: bool
    one_token: bool

    @property
    def named_after(self) -> str | None:
        """The concept it is named after; None where it selects none well enough."""
        match = self.concept
        return match.concept if match is not None and match.names_feature else None

    @property
    def flags(self) -> tuple[str, ...]:
        """What is wrong with it, in words."""
        named = {"dead": self.dead, "duplicate": self.duplicate, "one-token": self.one_token}
        return tuple(name for name, present in named.items() if present)

    def _repr_html_(self) -> str:
        promoted = () if self.vocabulary is None else self.vocabulary.promoted
        return feature_html(
            self.index,
            self.label,
            self.concept,
            flags=self.flags,
            contexts=self.contexts,
            neurons=self.neurons,
            promoted=[weight.token for weight in promoted],
        )


@dataclass(frozen=True, eq=False)
class FeatureSet(Sequence[Feature]):
    """The features of one dictionary, in order, with the figures of the whole.

    Attributes:
        features: one an atom.
        site: where they live.
        fit: reconstruction of the training rows.
        heldout: reconstruction of the rows of held-out texts, None when there are none.
    """

    features: tuple[Feature, ...]
    site: Site
    fit: Fidelity
    heldout: Fidelity | None

    @overload
    def __getitem__(self, index: int) -> Feature: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Feature]: ...
    def __getitem__(self, index: int | slice) -> Feature | Sequence[Feature]:
        return self.features[index]

    def __len__(self) -> int:
        return len(self.features)

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.features)

    def _repr_html_(self) -> str:
        rows = [
            (
                str(feature.index),
                feature.label,
                MISSING if feature.concept is None else feature.concept.concept,
                figure(None if feature.concept is None else feature.concept.auroc, 2),
                figure(feature.density, 2),
                figure(len(feature.neurons)),
                ", ".join(feature.flags),
            )
            for feature in self[:_TABLE_FEATURES]
        ]
        left = len(self) - len(rows)
        more = f"<div>and {left} more</div>" if left > 0 else ""
        columns = ("", "label", "best concept", "held-out AUROC", "density", "neurons", "flags")
        title = f"{len(self)} features at {self.site.name}"
        return card_html(title, {}, table_html(columns, rows) + more)

    def search(self, text: str) -> list[Feature]:
        """Features with the text in their label, concept, strong tokens or promoted tokens."""
        wanted = text.casefold()
        return [feature for feature in self.features if wanted in searchable(feature)]

    def selecting(self, concept: str) -> list[Feature]:
        """Features whose best concept is this one, best training AUROC first.

        Held-out texts do not decide the order: the held-out AUROC of the first one is then an
        honest figure, and not the luckiest of several.
        """
        found = [f for f in self.features if f.concept is not None and f.concept.concept == concept]
        return sorted(found, key=lambda f: -(f.concept.auroc_train if f.concept else 0.0))


def searchable(feature: Feature) -> str:
    """What ``FeatureSet.search`` looks in, case-folded: label, tokens, concept, promoted tokens."""
    words = [feature.label, *(name for name, _ in feature.firing_types)]
    if feature.concept is not None:
        words.append(feature.concept.concept)
    if feature.vocabulary is not None:
        words += [weight.token for weight in feature.vocabulary.promoted]
    return "\n".join(words).casefold()


def read_features(
    dictionary: Dictionary | Any,
    activations: Activations,
    model: "LanguageModel | None" = None,
    *,
    codes: CodeMatrix | None = None,
    n_contexts: int = 12,
    window: int = 16,
    n_tokens: int = 12,
    progress: Progress = SILENT,
) -> FeatureSet:
    """Read every feature of a dictionary on the texts of some activations.

    Contexts, token types and health come from the training texts; held-out texts only judge the
    concepts. Signed codes are read on their positive side only, see ``Feature``.

    Args:
        dictionary: from any method; a fitted estimator is made into one
            (``Dictionary.from_estimator``).
        activations: rows at the dictionary's site, held-out texts included.
        model: needed for promoted and demoted tokens; left out when None or not an MLP site.
        codes: [rows features] when they are known already; encoded here when None.
        n_contexts: top contexts a feature.
        window: tokens shown on each side of the firing one.
        n_tokens: promoted and demoted tokens kept.
        progress: shown while reading.

    Raises:
        InputError: when the activations are of another site or width, or hold no training text.
    """
    if not isinstance(dictionary, Dictionary):
        dictionary = Dictionary.from_estimator(dictionary, activations.site)
    if activations.site != dictionary.site:
        raise InputError(
            f"The dictionary was made at {dictionary.site} but the activations are from "
            f"{activations.site}; capture the dictionary's own site."
        )
    codes = (dictionary.encode(activations) if codes is None else codes).cpu()
    heldout_text = np.array([text.split == "heldout" for text in activations.corpus], dtype=bool)
    train = ~heldout_text[activations.tokens.text_id]
    if not train.any():
        raise InputError("All texts are held out: there is none left to read features on.")
    tokens = activations.tokens.take(train)
    train_codes = codes if train.all() else codes[train]
    atoms = dictionary.atoms.cpu()
    finder = ContextFinder(
        train_codes,
        tokens,
        activations.corpus,
        row_numbers=np.flatnonzero(train),
        window=window,
    )
    profile = concept_profile(codes, activations.tokens.text_id, activations.corpus)
    state = health(atoms, train_codes)
    names: Sequence[str | None] = dictionary.feature_names or [None] * len(atoms)
    projections: Sequence[VocabularyProjection | None] = [None] * len(atoms)
    if model is not None and dictionary.site.kind == "mlp":
        projections = project_on_vocabulary(
            model, dictionary.atoms, dictionary.site.layer, n=n_tokens
        )
    density = (train_codes > 0).float().mean(dim=0)
    peak = train_codes.amax(dim=0)
    types_of = list(firing_types(train_codes, tokens))
    features = []
    with progress.task("Reading features", len(atoms), "feature") as advance:
        for i, types in enumerate(types_of):
            strong = sum(count for _, count in types)
            contexts = finder.top(i, n_contexts)
            features.append(
                Feature(
                    index=i,
                    label=offline_label(profile.best[i], types, name=names[i]),
                    concept=profile.best[i],
                    concept_scores=_ranked(profile.concepts, profile.train[i], profile.heldout[i]),
                    contexts=tuple(contexts),
                    quantile_contexts=tuple(finder.at_quantiles(i, without=contexts)),
                    neurons=_neurons(atoms[i : i + 1]),
                    vocabulary=projections[i],
                    firing_types=tuple(types),
                    density=float(density[i]),
                    max_code=float(peak[i]),
                    dead=bool(state.dead[i]),
                    nearest=int(state.nearest[i]),
                    nearest_cosine=float(state.nearest_cosine[i]),
                    duplicate=bool(state.duplicate[i]),
                    one_token=strong >= _ONE_TOKEN_FIRINGS
                    and types[0][1] >= ONE_TOKEN_SHARE * strong,
                )
            )
            advance(1)
    offset = None if dictionary.offset is None else dictionary.offset.cpu()
    return FeatureSet(
        features=tuple(features),
        site=dictionary.site,
        fit=fidelity(activations, codes, atoms, offset, rows=train),
        heldout=None if train.all() else fidelity(activations, codes, atoms, offset, rows=~train),
    )


def _ranked(
    concepts: tuple[str, ...], train: np.ndarray, heldout: np.ndarray
) -> tuple[tuple[str, float | None, float | None], ...]:
    order = np.argsort(-np.nan_to_num(train, nan=-1.0), kind="stable")

    def known(value: float) -> float | None:
        return None if np.isnan(value) else float(value)

    return tuple((concepts[i], known(train[i]), known(heldout[i])) for i in order)


def _neurons(atom: AtomMatrix) -> tuple[tuple[int, float], ...]:
    row = atom[0]
    kept = row.nonzero()[:, 0]
    kept = kept[row[kept].abs().argsort(descending=True, stable=True)]
    return tuple(zip(kept.tolist(), row[kept].tolist(), strict=True))
