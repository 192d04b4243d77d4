"""Open a folder of latents with delphi's own dataset; run where delphi is installed."""

import json
import sys

from delphi.config import ConstructorConfig, SamplerConfig
from delphi.latents import LatentDataset


class Numbers:
    """A tokenizer for which every token is its number."""

    bos_token_id = 1

    def decode(self, tokens: list[int], **_: object) -> str:
        return " ".join(str(int(token)) for token in tokens)

    def batch_decode(self, tokens: list[int], **_: object) -> list[str]:
        return [str(int(token)) for token in tokens]

    convert_ids_to_tokens = batch_decode


dataset = LatentDataset(
    sys.argv[1],
    SamplerConfig(n_examples_train=4, n_examples_test=4, n_quantiles=2),
    ConstructorConfig(min_examples=1, n_non_activating=2, example_ctx_len=int(sys.argv[2])),
    tokenizer=Numbers(),
)
latents = []
for buffer in dataset.buffers:
    locations, activations, _ = buffer.load()
    for (window, place, feature), value in zip(
        locations.tolist(), activations.tolist(), strict=True
    ):
        latents.append([window, place, feature, value])
records = {
    record.latent.latent_index: [
        record.max_activation,
        record.per_token_frequency,
        record.train[0].tokens.tolist() if record.train else [],
    ]
    for record in dataset
}
print(
    json.dumps(
        {
            "modules": dataset.modules,
            "model": dataset.cache_config["model_name"],
            "shape": list(dataset.tokens.shape),
            "tokens": dataset.tokens.flatten().tolist(),
            "latents": latents,
            "records": records,
        }
    )
)
