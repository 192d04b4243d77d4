"""What stands around a feature: similar ones, co-firing ones, trees, more of a context's text."""

from collections.abc import Sequence

import numpy as np

from cofire.interpret.relatives import similar_atoms
from cofire.interpret.wording import readable, token_text
from cofire.structure.tree import TreeNode
from cofire.web.layer import ServedLayer
from cofire.web.records import (
    CofiringFeature,
    Cofirings,
    FeatureCodes,
    SimilarFeature,
    Similars,
    TextWindow,
    TreePlace,
    TreeStep,
)
from cofire.web.refusals import UnknownError
from cofire.web.result_places import name_in_run
from cofire.web.stored_trees import trees_of_site

_SIBLINGS_SHOWN = 12


def similars(key: str, layer: ServedLayer, index: int, *, offset: int, limit: int) -> Similars:
    """Features with similar atoms.

    Raises:
        UnknownError: when there is no such feature.
    """
    layer.check(index)
    features, cosines = similar_atoms(layer.dictionary.atoms, index)
    return Similars(
        run=key,
        layer=layer.site.layer,
        feature=index,
        found=len(features),
        offset=offset,
        limit=limit,
        features=[
            SimilarFeature(
                feature=int(i), label=readable(layer.label(int(i))), cosine=float(cosine)
            )
            for i, cosine in zip(
                features[offset : offset + limit], cosines[offset : offset + limit], strict=True
            )
        ],
    )


def cofirings(key: str, layer: ServedLayer, index: int, *, offset: int, limit: int) -> Cofirings:
    """Features that fire on the same tokens.

    Raises:
        UnknownError: when there is no such feature.
    """
    layer.check(index)
    found = layer.codes.cofiring(index)
    page = range(offset, min(offset + limit, len(found.features)))
    return Cofirings(
        of=layer.counted,
        run=key,
        layer=layer.site.layer,
        feature=index,
        found=len(found.features),
        offset=offset,
        limit=limit,
        features=[
            CofiringFeature(
                feature=int(found.features[i]),
                label=readable(layer.label(int(found.features[i]))),
                both=int(found.both[i]),
                jaccard=float(found.jaccard[i]),
                cosine=float(found.cosine[i]),
            )
            for i in page
        ],
    )


def text_window(
    key: str, layer: ServedLayer, row: int, features: Sequence[int], *, before: int, after: int
) -> TextWindow:
    """Some tokens of a text around one row, with codes of some features.

    Raises:
        UnknownError: when the row or a feature does not exist.
    """
    tokens, starts = layer.tokens, layer.text_starts
    if not 0 <= row < len(tokens):
        raise UnknownError(f"Row {row} does not exist: there are rows 0 to {len(tokens) - 1}.")
    for index in features:
        layer.check(index)
    text = int(np.searchsorted(starts, row, side="right")) - 1
    first, last = int(starts[text]), int(starts[text + 1])
    start, stop = max(first, row - before), min(last, row + after + 1)
    text_id = int(tokens.text_id[row])
    about = None if layer.corpus is None else layer.corpus[text_id]
    return TextWindow(
        run=key,
        layer=layer.site.layer,
        row=row,
        text_id=text_id,
        label=None if about is None or about.label is None else readable(about.label),
        split=None if about is None else about.split,
        focus=row - start,
        more_before=start - first,
        more_after=last - stop,
        tokens=[token_text(tokens.surface(i)) for i in range(start, stop)],
        features=[
            FeatureCodes(
                feature=index,
                label=readable(layer.label(index)),
                max_code=layer.features[index].max_code,
                codes=layer.codes.window(index, start, stop).tolist(),
            )
            for index in features
        ],
    )


def places_in_trees(key: str, layer: ServedLayer, index: int) -> list[TreePlace]:
    """Where a feature hangs in the trees of its layer; trees of other leaves are left out."""

    def step(node: TreeNode) -> TreeStep:
        label = layer.label(node.index) if node.level == 0 else node.label
        return TreeStep(
            level=node.level, feature=node.index, label=readable(label), share=node.share
        )

    found = []
    for stored in trees_of_site(layer.folder, layer.site):
        if not stored.of_run or index >= len(stored.tree.levels[0]):
            continue
        leaf = stored.tree.levels[0][index]
        siblings = stored.siblings(index)
        found.append(
            TreePlace(
                result=name_in_run(key, layer.folder, stored.file),
                name=stored.file.stem,
                share=leaf.share,
                above=[step(node) for node in stored.tree.path(leaf)],
                siblings=[step(node) for node in siblings[:_SIBLINGS_SHOWN]],
                n_siblings=len(siblings),
            )
        )
    return found
