"""A two-layer transformer of attention only, trained on sequences that come again.

A Llama whose MLPs are zero and stay so, on random tokens that repeat after a number of tokens which
differs from sequence to sequence. The second time every token can be foretold, and only by looking
where the same token stood before: with two layers of attention that takes a head that moves each
token one place on and a head behind it that looks for its own token there and copies (Elhage et
al. 2021; Olsson et al. 2022). The distance differs, so that no position can be learnt by heart.
"""

import time
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cofire.models import LanguageModel

VOCABULARY = 64
LENGTH = 48
N_HEADS = 8
BOS = 0


@dataclass(frozen=True)
class Training:
    """What training came to.

    Attributes:
        steps: taken.
        seconds: taken.
        accuracy: share of the tokens of the second time that are foretold.
        loss: on those tokens, nats.
    """

    steps: int
    seconds: float
    accuracy: float
    loss: float


def sequences(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [n LENGTH + 1] and True at the tokens that can be foretold."""
    ids = torch.empty(n, LENGTH + 1, dtype=torch.long)
    ids[:, 0] = BOS
    known = torch.zeros(n, LENGTH + 1, dtype=torch.bool)
    periods = torch.randint(LENGTH // 4, LENGTH // 2 + 1, (n,), generator=generator)
    for row, period in enumerate(periods.tolist()):
        part = torch.randint(1, VOCABULARY, (period,), generator=generator)
        ids[row, 1:] = part.repeat(LENGTH // period + 1)[:LENGTH]
        known[row, period + 2 :] = True  # from the second token of the second time on
    return ids, known


def build(seed: int) -> LanguageModel:
    """An untrained model and a tokenizer whose tokens are t1, t2, ..."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=LENGTH + 1,
        hidden_size=64,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=N_HEADS,
        num_key_value_heads=N_HEADS,
        bos_token_id=BOS,
        eos_token_id=BOS,
        pad_token_id=None,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    for layer in model.model.layers:
        for parameter in layer.mlp.parameters():
            torch.nn.init.zeros_(parameter)
            parameter.requires_grad_(requires_grad=False)
    words = {"<s>": BOS} | {f"t{i}": i for i in range(1, VOCABULARY)}
    level = Tokenizer(models.WordLevel(words, unk_token="<s>"))
    level.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=level, bos_token="<s>", pad_token="<s>")
    return LanguageModel(model, tokenizer, name=f"toy-{seed}")


def train(
    toy: LanguageModel,
    seed: int,
    *,
    most_steps: int = 1000,
    goal: float = 0.98,
    most_seconds: float = 280,
) -> Training:
    """Train until tokens of the second time are foretold; CPU seconds count against the limit."""
    generator = torch.Generator().manual_seed(seed)
    model = toy.model.train()
    own = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(own, lr=3e-3, weight_decay=0.1, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.05, 1.0, 50)
    start, accuracy, last, step = time.process_time(), 0.0, 0.0, 0
    for step in range(1, most_steps + 1):
        ids, known = sequences(48, generator)
        logits = model(ids).logits[:, :-1]
        losses = cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        optimizer.zero_grad()
        # All tokens count a little: those of the first time teach nothing but the uniform guess.
        (losses[known[:, 1:]].mean() + 0.05 * losses.mean()).backward()
        torch.nn.utils.clip_grad_norm_(own, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            hits = (logits.argmax(dim=-1) == ids[:, 1:])[known[:, 1:]]
            accuracy, last = float(hits.float().mean()), float(losses.detach()[known[:, 1:]].mean())
            if accuracy >= goal or time.process_time() - start > most_seconds:
                break
    model.eval()
    return Training(step, time.process_time() - start, accuracy, last)
