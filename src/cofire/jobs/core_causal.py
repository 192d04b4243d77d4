"""What a model does when the core and exclusive neurons of some features are changed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from cofire.config import CoreConfig
from cofire.errors import InputError
from cofire.factorization.constraints import keep_largest, kept_entries
from cofire.interpret.contexts import STRONG
from cofire.jobs.run_model import model_of, neuron_means
from cofire.models import LanguageModel
from cofire.progress import Progress
from cofire.site import Site
from cofire.store import Run
from cofire.store.structure_file import StructureFile
from cofire.structure.ablating import ablate_groups
from cofire.structure.causal import PROMPTS, amplify_groups
from cofire.structure.core import shared_neurons
from cofire.structure.neuron_groups import ControlGroups, neuron_groups

_TOKENS = 3  # of a feature without a word of its own, its commonest strong tokens


def causal_parts(
    file: StructureFile,
    run: Run,
    site: Site,
    members: Sequence[Mapping[str, Any]],
    config: CoreConfig,
    progress: Progress,
) -> None:
    """Add the parts ``amplified`` and ``ablated`` to a result, unless they are there.

    Raises:
        InputError: when the features are not of MLP neurons or residual channels of a model that
            can be run, or have no tokens that tell them apart.
    """
    prompts = _prompts(config)
    made = {"kl": config.kl, "prompts": prompts, "draws": config.control_draws}
    parts = file.record["parts"]
    if parts.get("causal_settings") not in (None, made):
        for name in ("causal_settings", "amplified", "ablated"):
            parts.pop(name, None)
    file.part("causal_settings", lambda: made)
    if {"amplified", "ablated"} <= set(parts):
        return
    model = model_of(run, config.device, progress)
    atoms = run.dictionary(site).atoms.detach().float().cpu()
    if config.keep is not None:
        atoms = keep_largest(atoms, kept_entries(config.keep, atoms.shape[1]))
    features = [int(member["feature"]) for member in members]
    names = {int(member["feature"]): str(member["name"]) for member in members}
    targets, words = _targets(run, site, model, members, config.concept)
    found = shared_neurons(atoms, features, share=config.share, keep=config.keep)
    groups = neuron_groups(atoms, found, names)
    means, magnitudes = neuron_means(run, model, site, seed=config.seed)
    left_out = [int(other["feature"]) for other in parts.get("left_out", [])]
    controls = ControlGroups(atoms, [*features, *left_out], magnitudes, seed=config.seed)
    file.part(
        "amplified",
        lambda: amplify_groups(
            model,
            site,
            groups,
            targets,
            controls,
            prompts=prompts,
            target_kl=config.kl,
            draws=config.control_draws,
            seed=config.seed,
            progress=progress,
        ).record(),
    )
    file.part(
        "ablated",
        lambda: ablate_groups(
            model,
            site,
            groups,
            {name: words[name] for name in names.values()},
            targets,
            controls,
            means,
            draws=config.control_draws,
            seed=config.seed,
            progress=progress,
        ).record(),
    )


def _prompts(config: CoreConfig) -> list[str]:
    if config.prompts is None:
        return list(PROMPTS)
    try:
        lines = config.prompts.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the prompts {config.prompts}: {error}.") from error
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise InputError(f"{config.prompts} holds no prompt; write one a line.")
    return prompts


def _targets(
    run: Run,
    site: Site,
    model: LanguageModel,
    members: Sequence[Mapping[str, Any]],
    concept: str | None,
) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Token ids of every target, and the word that names it in a prompt.

    Members that are details of a concept: the first token of every detail's name, those without a
    feature included. Others: their commonest strong tokens on training texts.

    Raises:
        InputError: when two targets begin with the same token.
    """
    if all(member["detail"] for member in members):
        details = dict.fromkeys(
            text.detail for text in run.corpus if text.label == concept and text.detail
        )
        words = {detail: f" {detail}" for detail in details if detail is not None}
        tokenizer = model.tokenizer
        targets = {
            name: [int(tokenizer(word, add_special_tokens=False)["input_ids"][0])]
            for name, word in words.items()
        }
    else:
        targets, words = _firing_tokens(run, site, members)
    taken = Counter(token for ids in targets.values() for token in ids)
    shared = [name for name, ids in targets.items() if all(taken[token] > 1 for token in ids)]
    if shared:
        raise InputError(
            f"The tokens of {shared[0]!r} are those of other features too, so that their logits "
            "cannot tell the features apart; choose other features."
        )
    return {n: [t for t in ids if taken[t] == 1] for n, ids in targets.items()}, words


def _firing_tokens(
    run: Run, site: Site, members: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, list[int]], dict[str, str]]:
    tokens, codes = run.tokens(site), run.codes(site)
    train = np.array([text.split == "train" for text in run.corpus])[tokens.text_id]
    targets, words = {}, {}
    for member in members:
        code = torch.where(torch.from_numpy(train), codes[:, int(member["feature"])], 0.0)
        strong = np.flatnonzero((code >= STRONG * code.max()).numpy() & (code > 0).numpy())
        if not len(strong):
            raise InputError(f"Feature {member['feature']} never fires; leave it out.")
        counts = Counter(int(token) for token in tokens.token_id[strong])
        best = [token for token, _ in counts.most_common(_TOKENS)]
        row = int(strong[np.flatnonzero(tokens.token_id[strong] == best[0])[0]])
        name = str(member["name"])
        targets[name] = best
        words[name] = " " + tokens.surface(row).strip()
    return targets, words
