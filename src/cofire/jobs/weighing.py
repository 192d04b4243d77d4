"""The weights job: a model in, a folder with its matrices taken apart and judged out."""

import logging
import math
from dataclasses import replace
from pathlib import Path

from cofire.config import WeightsConfig
from cofire.corpus import Corpus
from cofire.data import bundled_concepts, load_corpus
from cofire.device import resolve_device
from cofire.errors import InputError, StoreError
from cofire.jobs.capturing import identity, same_settings
from cofire.jobs.environment import environment
from cofire.jobs.run_features import RunFeatures
from cofire.models import LanguageModel, load_model
from cofire.models.tokens import tokenize
from cofire.models.weights import attention_shape
from cofire.progress import SILENT, Progress
from cofire.site import parse_layers
from cofire.store.weights_folder import WeightsFolder
from cofire.weights.attention import HeadBehaviour, behaviour_on_repeats
from cofire.weights.examination import Settings, check
from cofire.weights.heads import OF_HEADS, Vocabulary, ablated, read_head, weight_matrix
from cofire.weights.on_texts import OnTexts
from cofire.weights.picard_ica import check_picard
from cofire.weights.watching import watch_heads

_logger = logging.getLogger(__name__)

_ABLATION_TEXTS = 12
_REPEATED = 48  # random tokens that come twice, to find heads that look for repeats

# Settings that say where to compute or print, which heads, or on which texts they are watched, and
# not how matrices are taken apart. Every head says which texts it was watched on.
_CIRCUMSTANCE = frozenset(
    {
        *("model", "output", "device", "layers", "heads", "data", "text_column"),
        *("as_json", "as_csv", "as_table"),
    }
)


def weights(config: WeightsConfig, progress: Progress = SILENT) -> WeightsFolder:
    """Take weight matrices of a model apart; go on with what was begun earlier.

    Heads that were finished without being watched on these texts are watched, and else kept.

    Args:
        config: what to do; ``output`` defaults to a telling name under ``runs/``.
        progress: shown while working.

    Raises:
        CofireError: for input that cannot be used; finished heads are kept.
        KeyboardInterrupt: when the user stopped it; finished heads are kept.
    """
    settings = examination_settings(config)
    _check_matrix(config)
    corpus = None
    if config.matrix in OF_HEADS:  # texts first: a mistake there should not cost a model load
        corpus = load_corpus(config.data, text_column=config.text_column)
    features = RunFeatures(config.features)
    with progress.task(f"Loading {config.model}", None, "") as advance:
        model = load_model(config.model, device=config.device, dtype=config.dtype)
        advance(1)
    features.check_model(model)
    if config.matrix == "qk" and model.structure.unembedding is None:
        corpus = None  # what heads raise cannot be told; W_OV is refused below
    wanted = wanted_matrices(config, model)
    first = weight_matrix(model, config.matrix, *wanted[0])
    most = min(first.shape) if not hasattr(first, "left") else first.left.shape[1]
    if config.n_components > most:
        raise InputError(
            f"A matrix of rank {most} has 1 to {most} components; --n-components is "
            f"{config.n_components}."
        )
    folder = _open(config, model, wanted)
    left = [one for one in folder.wanted if not folder.holds(*one)]
    unwatched = [] if corpus is None else _unwatched(folder, corpus)
    if not left and not unwatched:
        _check_any(folder)
        folder.write_tables()  # verdicts by the rules of this version
        return folder
    vocabulary = None
    behaviour: HeadBehaviour | None = None
    on_texts: dict[tuple[int, int], OnTexts] = {}
    texts: list[tuple[int, ...]] = []
    if corpus is not None:
        with progress.task("Reading the vocabulary", None, "") as advance:
            vocabulary = Vocabulary.of(model, config.tokens)
            advance(1)
        on_texts = watch_heads(
            model,
            vocabulary.reader,
            vocabulary.statistics,
            corpus,
            data=config.data,
            layers={layer for layer, _ in [*left, *unwatched]},
            progress=progress,
        )
        for one in unwatched:
            folder.add_to_head(replace(folder.head(*one), on_texts=on_texts[one]))
    if config.matrix == "ov" and vocabulary is not None and left:
        with progress.task("Random tokens that come twice", None, "") as advance:
            longest = (model.context_length or 2 * _REPEATED + 1) - 1
            behaviour = behaviour_on_repeats(
                model,
                vocabulary.reader,
                vocabulary.statistics,
                length=min(_REPEATED, longest // 2),
                seed=config.seed,
            )
            advance(1)
        if config.ablate:
            texts = _texts(model, config)
    try:
        with progress.task(f"W of {model.name}", len(wanted), "head") as advance:
            advance(len(wanted) - len(left))
            for layer, head in left:
                matrix = weight_matrix(model, config.matrix, layer, head)
                try:
                    check(matrix, settings)
                except InputError as error:  # one such head should not cost all others
                    folder.leave_out(layer, head, str(error))
                    _logger.warning("%s is left out: %s", _place(layer, head), error)
                    advance(1)
                    continue
                record, made = read_head(
                    matrix,
                    layer,
                    head,
                    kind=config.matrix,
                    settings=settings,
                    vocabulary=vocabulary,
                    reading=features.of_rows(config.matrix, layer, model),
                    writing=features.of_columns(config.matrix, layer, model),
                    induction=_score(behaviour, "induction", layer, head),
                    previous_token=_score(behaviour, "previous", layer, head),
                    on_texts=None if head is None else on_texts.get((layer, head)),
                )
                if vocabulary is not None and texts:
                    record = ablated(record, made, model, texts, vocabulary, config.ablate)
                folder.write_head(record, made)
                advance(1, head=record.name, verdict=record.verdict.structure)
    finally:
        folder.write_tables()
    _check_any(folder)
    return folder


def examination_settings(config: WeightsConfig) -> Settings:
    """The part of a config that says how each matrix is examined.

    Raises:
        InputError: for an unknown method.
    """
    named = tuple(dict.fromkeys(part.strip() for part in config.methods.split(",")))
    return Settings(
        n_components=config.n_components,
        samples=config.samples or ("rows" if config.matrix == "mlp-out" else "columns"),
        methods=named,
        restarts=config.seeds,
        draws=config.draws,
        seed=config.seed,
        algorithm=config.algorithm,
        sparsity=config.sparsity,
    )


def _unwatched(folder: WeightsFolder, corpus: Corpus) -> list[tuple[int, int]]:
    """Finished heads that were not watched on these texts."""
    return [
        (one.layer, one.head)
        for one in folder.heads()
        if one.head is not None
        and (one.on_texts is None or one.on_texts.fingerprint != corpus.fingerprint)
    ]


def _check_any(folder: WeightsFolder) -> None:
    """Refuse to end without a single matrix.

    Raises:
        InputError: saying what is wrong with the first of those that were left out.
    """
    for (layer, head), why in folder.left_out.items():
        if not folder.wanted:
            raise InputError(f"No matrix can be taken apart; {_place(layer, head)}: {why}")


def _place(layer: int, head: int | None) -> str:
    return f"layer {layer}" if head is None else f"head {layer}.{head}"


def _check_matrix(config: WeightsConfig) -> None:
    """Refuse settings that would mean nothing for the matrix, or that this machine cannot do.

    Raises:
        InputError: saying which.
    """
    if config.algorithm == "picard":
        check_picard()
    if config.ablate and config.matrix != "ov":
        raise InputError(
            f"--ablate takes components out of W_OV; --matrix is {config.matrix}: leave --ablate "
            "out, or use --matrix ov."
        )
    if config.matrix not in OF_HEADS and config.heads.strip() != "all":
        raise InputError(
            f"--matrix {config.matrix} belongs to layers and not to heads; leave --heads out."
        )
    if config.matrix not in OF_HEADS and (config.data != "concepts" or config.text_column):
        raise InputError(
            f"Heads are watched on --data; --matrix {config.matrix} has none: leave --data and "
            "--text-column out."
        )


def wanted_matrices(config: WeightsConfig, model: LanguageModel) -> list[tuple[int, int | None]]:
    """Layer and head of every matrix that a config asks for.

    Raises:
        InputError: for a layer or head that does not exist.
        ModelError: when a layer has no attention that can be read.
    """
    layers = parse_layers(config.layers, model.n_layers)
    if config.matrix not in OF_HEADS:
        return [(layer, None) for layer in layers]
    found: list[tuple[int, int | None]] = []
    for layer in layers:
        n_heads = attention_shape(model, layer).n_heads
        if config.heads.strip() == "all":
            heads = list(range(n_heads))
        else:
            try:
                heads = parse_layers(config.heads)
            except InputError:
                raise InputError(
                    f"--heads takes numbers such as 0,2-3, or all; got {config.heads!r}."
                ) from None
        absent = [head for head in heads if head >= n_heads]
        if absent:
            raise InputError(
                f"Layer {layer} of {model.name} has heads 0 to {n_heads - 1}; there is no head "
                f"{absent[0]}."
            )
        found += [(layer, head) for head in heads]
    return found


def _score(
    behaviour: HeadBehaviour | None, name: str, layer: int, head: int | None
) -> float | None:
    if behaviour is None or head is None:
        return None
    value = float(getattr(behaviour, name)[layer, head])
    return value if math.isfinite(value) else None


def _texts(model: LanguageModel, config: WeightsConfig) -> list[tuple[int, ...]]:
    """Token ids of some of the bundled sentences, spread over their concepts."""
    corpus = bundled_concepts()
    every = max(1, len(corpus) // _ABLATION_TEXTS)
    chosen = list(range(config.seed % every, len(corpus), every))[:_ABLATION_TEXTS]
    return list(tokenize(model.tokenizer, corpus, chosen).ids)


def _open(
    config: WeightsConfig, model: LanguageModel, wanted: list[tuple[int, int | None]]
) -> WeightsFolder:
    name = Path(model.name).name or "model"
    path = config.output or Path("runs") / f"weights-{name}-{config.matrix}"
    settings = {key: value for key, value in config.resolved().items() if key not in _CIRCUMSTANCE}
    described = model.describe()
    if WeightsFolder.present(path):
        folder = WeightsFolder.open(path)
        try:
            same_settings(path, folder.manifest, {"model": identity(described), "config": settings})
            _same_matrices(folder, wanted)
        except StoreError:
            if folder.finished:
                raise
            folder.discard()  # nothing was ever finished under the other settings
        else:
            return folder
    return WeightsFolder.create(
        path,
        wanted=wanted,
        config=settings,
        model=described,
        environment=environment(resolve_device(config.device)),
    )


def _same_matrices(folder: WeightsFolder, wanted: list[tuple[int, int | None]]) -> None:
    if sorted([*folder.wanted, *folder.left_out]) != sorted(wanted):
        raise StoreError(
            f"{folder.path} was begun for other layers or heads; choose another folder with -o, "
            "or remove it."
        )
