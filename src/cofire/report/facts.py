"""What a run's manifest says about model, data and method, in words; anything may be absent."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cofire.interpret.wording import figure
from cofire.registry import methods
from cofire.site import Site

_KINDS = {
    "mlp": "MLP neurons",
    "mlp_out": "MLP outputs",
    "attn": "attention head outputs",
    "resid_pre": "residual stream before the block",
    "resid_post": "residual stream after the block",
}
_METHODS = {
    "snmf": "SNMF (semi-nonnegative matrix factorisation)",
    "pca": "PCA (principal components)",
    "ica": "ICA (independent components)",
    "nmf": "NMF of the rectified activations",
    "dictionary-learning": "dictionary learning",
    "svd": "SVD (singular vectors)",
    "kmeans": "k-means",
    "sae-topk": "TopK sparse autoencoder",
    "sae-l1": "L1 sparse autoencoder",
    "sae": "sparse autoencoder that was trained elsewhere",
    "diffmeans": "difference of means",
    "neurons": "single neurons (control)",
    "random": "random directions (control)",
    "random-sparse": "sparse random directions (control)",
    "permuted-snmf": "SNMF on shuffled neurons (control)",
}
_SOLVERS = {
    "bcd": "exact block coordinate descent",
    "pgd": "projected gradient descent",
    "mu": "published multiplicative updates",
}
_SOURCES = {"concepts": "bundled concept sentences", "-": "texts from standard input"}


def site_words(sites: Sequence[Site]) -> str:
    """The kinds of sites, in words."""
    return ", ".join(dict.fromkeys(_KINDS[site.kind] for site in sites))


def site_title(site: Site, sites: Sequence[Site]) -> str:
    """A short name of one site among others: its kind only where kinds differ."""
    several = len({other.kind for other in sites}) > 1
    return f"Layer {site.layer}" + (f", {_KINDS[site.kind]}" if several else "")


def model_name(manifest: Mapping[str, Any]) -> str:
    """What the model is called; a path of this machine is cut to its last part."""
    model = manifest.get("model")
    name = model.get("name") if isinstance(model, Mapping) else model
    name = str(name or _mapping(manifest, "config").get("model") or "")
    return _last_part(name) or "unnamed model"


def header_facts(manifest: Mapping[str, Any], sites: Sequence[Site]) -> dict[str, str]:
    """Named facts for the top of the page; what the manifest does not say is left out."""
    model, config = _mapping(manifest, "model"), _mapping(manifest, "config")
    facts = {
        "Model": _model(manifest, model),
        "Where": site_words(sites),
        "Layers": ", ".join(str(site.layer) for site in sites),
        "Texts": _texts(manifest, config, sites),
        "Method": _METHODS.get(str(config.get("method")), config.get("method")),
        "Carried": _carried(manifest),
        "Features": _features(config),
        "Solver": _solver(config),
        "Seed": config.get("seed"),
        "Fitted": str(manifest.get("created") or "")[:10],
        "Made with": f"cofire {manifest['cofire_version']}"
        if manifest.get("cofire_version")
        else None,
    }
    return {name: str(fact) for name, fact in facts.items() if fact not in (None, "")}


def method_source(manifest: Mapping[str, Any]) -> str | None:
    """The paper or library the method comes from; None for a method that is not installed."""
    method = methods().get(str(_mapping(manifest, "config").get("method", "snmf")))
    return None if method is None else method.source


def licence_notes(manifest: Mapping[str, Any]) -> list[str]:
    """Licences the manifest names, each with what it belongs to."""
    return [
        f"{name.capitalize()}: {record[key]}"
        for name, record in manifest.items()
        if isinstance(record, Mapping)
        for key in ("licence", "license")
        if record.get(key)
    ]


def fingerprints(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Checksums that tell whether model and texts are the same again."""
    found = {
        "Model": _mapping(manifest, "model").get("fingerprint"),
        "Texts": _mapping(manifest, "corpus").get("sha256"),
    }
    return {name: str(value) for name, value in found.items() if value}


def settings(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The resolved config, without the output folder and the folders that paths lead through."""
    return {
        name: "default" if value is None else _last_part(str(value))
        for name, value in _flat(_mapping(manifest, "config"))
        if name != "output"
    }


def environment(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Hardware and versions, as the run recorded them."""
    return {name: str(value) for name, value in _flat(_mapping(manifest, "environment"))}


def _mapping(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    record = manifest.get(name)
    return record if isinstance(record, Mapping) else {}


def _last_part(name: str) -> str:
    """The last part of a path; other names, such as ``owner/name``, as they are.

    >>> _last_part("/home/me/llama/"), _last_part("owner/name")
    ('llama', 'owner/name')
    """
    is_path = name.startswith(("/", "~", ".")) or "\\" in name
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1] if is_path else name


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _model(manifest: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    parts = [model_name(manifest)]
    if isinstance(model.get("n_parameters"), int):
        parts.append(f"{figure(model['n_parameters'] / 1e6)}\N{NO-BREAK SPACE}M parameters")
    if isinstance(model.get("n_layers"), int):
        parts.append(f"{model['n_layers']} layers")
    return ", ".join(parts)


def _texts(
    manifest: Mapping[str, Any], config: Mapping[str, Any], sites: Sequence[Site]
) -> str | None:
    source = _mapping(manifest, "capture").get("data") or config.get("data")
    name = None if source is None else _SOURCES.get(str(source), _last_part(str(source)))
    number = _mapping(manifest, "corpus").get("texts")
    parts = [f"{number:,} {name or 'texts'}" if isinstance(number, int) else name]
    records = _mapping(manifest, "sites")
    rows = next((_mapping(records, site.name).get("rows") for site in sites), None)
    if isinstance(rows, int):
        parts.append(f"{rows:,} tokens")
    return ", ".join(part for part in parts if part) or None


def _carried(manifest: Mapping[str, Any]) -> str | None:
    """Where features come from that are shown at another site than their own."""
    for record in _mapping(manifest, "sites").values():
        made = record.get("dictionary") if isinstance(record, Mapping) else None
        carried = made.get("provenance", {}).get("carried") if isinstance(made, Mapping) else None
        if isinstance(carried, Mapping):
            return f"from {carried.get('from')} through {carried.get('through')}"
    return None


def _features(config: Mapping[str, Any]) -> str | None:
    number, sparsity = config.get("n_components"), config.get("sparsity")
    if number is None:
        return None
    method = methods().get(str(config.get("method", "snmf")))
    if method is not None and method.needs_labels:
        return "one a concept"
    if not isinstance(sparsity, int | float) or method is None or "sparsity" not in method.honours:
        return f"{number} a layer"
    return f"{number} a layer, each keeps {figure(100 * sparsity)}% of neurons"


def _solver(config: Mapping[str, Any]) -> str | None:
    if config.get("method", "snmf") != "snmf" or not config.get("solver"):
        return None
    parts = [_SOLVERS.get(str(config["solver"]), str(config["solver"]))]
    parts += [f"{config['init']} start"] if config.get("init") else []
    parts += [f"code penalty {config['code_penalty']:g}"] if config.get("code_penalty") else []
    return ", ".join(parts)
