"""Continuations: the same as from whole passes one by one, whatever the batch."""

from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from cofire.errors import InputError
from cofire.models import (
    Continuation,
    LanguageModel,
    SamplingSettings,
    Steer,
    TextGenerator,
    intervening,
)
from cofire.sampling import draw, kept_probabilities, uniform_stream
from cofire.site import Site
from tiny_models import FAMILIES, tiny_model

Build = Callable[[str], LanguageModel]
IDS = [1, 5, 9, 20]
LOOSE = SamplingSettings(top_k=20, top_p=0.9, temperature=0.7)


def one_by_one(
    model: LanguageModel, uniforms: torch.Tensor, site: Site, steer: Steer, row: int, skip: int = 0
) -> list[int]:
    """One continuation, each token from a whole pass over the whole text."""
    ids = list(IDS)
    alone = steer.take(torch.tensor([row]))
    for uniform in uniforms:
        where = torch.arange(len(ids))[None] >= skip
        with intervening(model, {site: alone}, where=where):
            logits = model.model(torch.tensor([ids]), use_cache=False).logits[:, -1]
        best = logits.sort(descending=True)
        chances = kept_probabilities(best.values, LOOSE)
        ids.append(int(best.indices[0, draw(chances, uniform[None])[0]]))
        if ids[-1] == 2:
            return ids[len(IDS) : -1]
    return ids[len(IDS) :]


def streams(count: int, length: int) -> torch.Tensor:
    return torch.stack([uniform_stream(seed, length) for seed in range(count)])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_as_one_by_one(build: Build, name: str) -> None:
    model, site = build(name), Site(1, "mlp")
    generator = TextGenerator(model)
    assert generator.cached == (name != "qwen3_5_text")
    steer = Steer(torch.randn(2, model.site_width(site)), torch.tensor([0.5, 4.0]))
    uniforms = streams(6, 12)
    cells = torch.tensor([0, 0, 1, 1, 0, 1])
    for skip in (0, 1):
        found = generator.generate(
            IDS,
            uniforms,
            cells=cells,
            site=site,
            intervention=steer,
            skip_first=skip,
            sampling=LOOSE,
        )
        for one, stream, cell in zip(found, uniforms, cells.tolist(), strict=True):
            expected = one_by_one(model, stream, site, steer, cell, skip)
            assert list(one.token_ids) == expected
            assert one.ended == (len(expected) < 12)


def test_text_does_not_depend_on_its_batch(build: Build) -> None:
    model, site = build("gemma3_text"), Site(1, "mlp")
    generator = TextGenerator(model)
    steer = Steer(torch.randn(4, 48), torch.tensor([0.0, 1.0, 2.0, 6.0]))
    uniforms = streams(32, 20)
    cells = torch.arange(4).repeat_interleave(8)

    def run(rows: list[int]) -> list[Continuation]:
        return generator.generate(
            IDS, uniforms[rows], cells=cells[rows], site=site, intervention=steer, sampling=LOOSE
        )

    together = run(list(range(32)))
    backwards = run(list(range(31, -1, -1)))[::-1]
    alone = [run([row])[0] for row in range(32)]
    assert together == backwards == alone
    assert len({one.token_ids for one in together}) > 20


def test_equal_texts_of_a_cell_are_computed_once(build: Build) -> None:
    model = build("llama")
    generator = TextGenerator(model)
    rows: list[int] = []
    handle = model.resolve(Site(0, "mlp")).register(lambda tensor: rows.append(tensor.shape[0]))
    greedy = SamplingSettings(temperature=0.0)
    try:
        found = generator.generate(IDS, streams(8, 5), sampling=greedy)
    finally:
        handle.remove()
    assert rows == [1] * 5
    assert len(set(found)) == 1


def test_end_of_text(tokenizer: PreTrainedTokenizerBase) -> None:
    """A model that says the end-of-text token, or one more from its own settings, stops there."""
    tiny = tiny_model("gpt2")
    model = LanguageModel(tiny, tokenizer)
    plain = TextGenerator(model).generate(IDS, streams(4, 12), sampling=LOOSE)
    other = plain[0].token_ids[3]
    tiny.generation_config.eos_token_id = [2, other]
    generator = TextGenerator(model)
    assert generator.stop_ids == {2, other}
    for before, after in zip(
        plain, generator.generate(IDS, streams(4, 12), sampling=LOOSE), strict=True
    ):
        cut = before.token_ids
        if other in cut:
            assert after.ended
            assert after.token_ids == cut[: cut.index(other)]
        else:
            assert after == before


def test_wrong_shapes(build: Build) -> None:
    generator = TextGenerator(build("llama"))
    with pytest.raises(InputError, match="at least one token"):
        generator.generate([], streams(2, 3))
    with pytest.raises(InputError, match="a site with the intervention"):
        generator.generate(IDS, streams(2, 3), site=Site(1))


@pytest.mark.model
def test_real_model_continues_greedily_as_its_own_generate(gemma: LanguageModel) -> None:
    ids = gemma.tokenizer("Monday, Tuesday, Wednesday,")["input_ids"]
    greedy = SamplingSettings(temperature=0.0)
    found = TextGenerator(gemma).generate(ids, streams(1, 8), sampling=greedy)[0]
    with torch.inference_mode():
        expected = gemma.model.generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False)
    assert list(found.token_ids) == expected[0, len(ids) :].tolist()
