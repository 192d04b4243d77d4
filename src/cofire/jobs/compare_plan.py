"""Which cells a comparison has: methods and their settings, layers, k, sparsities and seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cofire.config import CompareConfig, SweepConfig
from cofire.corpus import Corpus
from cofire.errors import InputError
from cofire.evaluation.grid import GridCell, SettingValue
from cofire.evaluation.steering_records import EXTRA_PROMPTS, PUBLISHED_PROMPT, SteeringSettings
from cofire.jobs.ready_sae import NAME as SAE
from cofire.method import MethodSettings
from cofire.registry import Method, method_named, methods
from cofire.sampling import SamplingSettings
from cofire.site import Site
from cofire.store import Run
from cofire.store.text_file import TEXTS

RUN = "run"
"""Method of cells whose dictionary is that of a run."""

_TEXT_SHOWN = 60  # characters

_AXES = {"n_components": "--k", "sparsity": "--sparsity", "seed": "--seeds", "device": "--device"}


def plan_cells(config: CompareConfig, sites: Sequence[Site]) -> list[GridCell]:
    """The cells of a comparison: layer by layer, seed by seed, methods in the order asked for.

    A method that takes no k or sparsity has one cell for all of them; one in which nothing is
    random has one seed.

    Raises:
        InputError: for an unknown method or setting, or numbers that cannot be read.
    """
    ready = run_cells(config, sites)
    asked = [read_method(text) for text in _methods(config)]
    numbers = [int(n) for n in read_numbers("--k", config.k, int)]
    shares = [float(s) for s in read_numbers("--sparsity", config.sparsity, float)]
    for number, share in [(n, s) for n in numbers for s in shares]:
        if number < 1 or not 0 < share <= 1:
            raise InputError(
                f"k must be at least 1 and sparsity above 0 and at most 1; got {number} and "
                f"{share:g}."
            )
    cells = [
        GridCell(
            method.name,
            settings,
            site,
            None if method.needs_labels else number,
            share if "sparsity" in method.honours else None,
            0 if method.deterministic else config.seed + seed,
        )
        for site in sites
        for seed in range(config.seeds)
        for number in numbers
        for share in shares
        for method, settings in asked
    ]
    planned = sorted(dict.fromkeys([*cells, *ready]), key=lambda cell: cell.site)
    by_name: dict[str, GridCell] = {}
    for cell in planned:
        other = by_name.setdefault(cell.name, cell)
        if other != cell:
            raise InputError(
                f"{other.variant} and {cell.variant} would both be kept in the folder {cell.name}; "
                "compare them apart, or rename the folder of a run."
            )
    return planned


def run_folders(config: CompareConfig) -> dict[str, Path]:
    """The runs that are compared as they are, by the name of their folder.

    Raises:
        InputError: when two of them have one name.
    """
    paths = [Path(part) for part in _parts(config.runs or "")]
    names = [path.resolve().name for path in paths]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"--runs names two folders {twice!r}; rename one, they go by their name.")
    return dict(zip(names, paths, strict=True))


def check_runs(config: CompareConfig, corpus: Corpus) -> None:
    """Refuse runs that were fitted on texts that are held out here.

    SAEs that were trained elsewhere, and runs that keep no texts, learned from none of these.

    Raises:
        InputError: naming the run and one of the texts.
        StoreError: for a folder that is no run, or whose texts are damaged.
    """
    heldout = {text.text for text in corpus if text.split == "heldout"}
    for path in run_folders(config).values():
        run = Run.open(path)
        if run.config.get("method") == SAE or TEXTS not in run.manifest["parts"]:
            continue
        fitted = dict.fromkeys(text.text for text in run.corpus if text.split == "train")
        both = [text for text in fitted if text in heldout]
        if both:
            raise InputError(
                f"The run {path} was fitted on {len(both):,} of the {len(heldout):,} texts that "
                f"are held out here, such as {both[0][:_TEXT_SHOWN]!r}: its figures would not be "
                "comparable. Fit it again with these texts held out."
            )


def run_cells(config: CompareConfig, sites: Sequence[Site]) -> list[GridCell]:
    """A cell for every site that a run has in common with the comparison.

    Raises:
        InputError: for a run that has none.
        StoreError: for a folder that is no run.
    """
    cells = []
    for name, path in run_folders(config).items():
        run = Run.open(path)
        own = [site for site in run.sites if site in sites]
        if not own:
            raise InputError(
                f"The run {path} is of {', '.join(map(str, run.sites)) or 'no finished site'}; "
                f"the comparison is at {', '.join(map(str, sites))}."
            )
        cells += [GridCell(RUN, (("name", name),), site, None, None, 0) for site in own]
    return cells


def sweep_axes(config: SweepConfig) -> CompareConfig:
    """The comparison that varies one thing.

    Raises:
        InputError: when what is to vary is no setting of the methods.
    """
    axis = {"k": "k", "n_components": "k", "sparsity": "sparsity"}.get(config.vary)
    if axis is not None:
        return config.model_copy(update={axis: config.values})
    variants = [f"{m}:{config.vary}={v}" for m in _methods(config) for v in _parts(config.values)]
    for variant in variants:
        read_method(variant)
    return config.model_copy(update={"methods": ",".join(variants)})


def method_settings(cell: GridCell, device: str) -> MethodSettings:
    """The settings a cell's estimator is built with."""
    given: dict[str, Any] = dict(cell.settings)
    if cell.n_components is not None:
        given["n_components"] = cell.n_components
    if cell.sparsity is not None:
        given["sparsity"] = cell.sparsity
    return MethodSettings(seed=cell.seed, device=device, **given)


def read_method(text: str) -> tuple[Method, tuple[tuple[str, SettingValue], ...]]:
    """A method with its settings, from ``snmf:solver=mu:max_iter=500``.

    Raises:
        InputError: for an unknown method or setting, or a value that is not of its type.
    """
    name, *rest = text.split(":")
    method = method_named(name.strip())
    settings: list[tuple[str, SettingValue]] = []
    for part in rest:
        key, sign, value = (piece.strip() for piece in part.partition("="))
        if key in _AXES:
            raise InputError(f"{text!r}: {key} is set for all methods, with {_AXES[key]}.")
        if not sign or not value or key not in method.honours:
            known = ", ".join(sorted(method.honours - set(_AXES))) or "none"
            raise InputError(
                f"{text!r}: settings of a method are written as {name}:setting=value; "
                f"{name} takes {known}."
            )
        if key in dict(settings):
            raise InputError(f"{text!r} sets {key} twice; set it once.")
        settings.append((key, _value(text, key, value)))
    return method, tuple(settings)


def steering_settings(config: CompareConfig) -> SteeringSettings:
    """How the features of every cell are steered; as published, with one strength and no top-p."""
    targets = tuple(float(t) for t in read_numbers("--targets", config.targets, float))
    published = config.protocol == "published"
    return SteeringSettings(
        prompts=(PUBLISHED_PROMPT, *EXTRA_PROMPTS)[: config.prompts],
        targets=targets,
        shared_strength=published,
        samples=config.samples,
        new_tokens=config.new_tokens,
        sampling=SamplingSettings(top_p=None) if published else SamplingSettings(),
        seed=config.seed,
    )


def read_numbers(flag: str, text: str, kind: type[int] | type[float]) -> list[int | float]:
    """Numbers separated by commas.

    Raises:
        InputError: for what is no number, or a number named twice.
    """
    try:
        numbers = [kind(part) for part in _parts(text)]
    except ValueError:
        example = "50,100" if kind is int else "0.01,0.05"
        raise InputError(f"{flag} takes numbers such as {example}; got {text!r}.") from None
    twice = next((number for number in numbers if numbers.count(number) > 1), None)
    if twice is not None or not numbers:
        what = "no number" if twice is None else f"{twice:g} twice"
        raise InputError(f"{flag} names {what}; name every value once.")
    return numbers


def reference_variant(config: CompareConfig) -> str:
    """The method that the others are compared with: the first one."""
    method, settings = read_method(_methods(config)[0])
    return GridCell(method.name, settings, Site(0), None, None, 0).variant


def _methods(config: CompareConfig) -> list[str]:
    if config.methods.strip() == "all":
        return list(methods())
    names = _parts(config.methods)
    if not names:
        raise InputError("--methods names no method; `cofire methods` lists them.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"--methods names {twice} twice; name every method once.")
    return names


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _value(text: str, key: str, value: str) -> SettingValue:
    """A value of the type that the setting has."""
    kind = str(MethodSettings.__dataclass_fields__[key].type)
    try:
        if "bool" in kind:
            return {"true": True, "yes": True, "false": False, "no": False}[value.lower()]
        if "int" in kind:
            return int(value)
        if "float" in kind:
            return float(value)
    except (ValueError, KeyError):
        raise InputError(f"{text!r}: {value!r} is no value for {key}.") from None
    return value
