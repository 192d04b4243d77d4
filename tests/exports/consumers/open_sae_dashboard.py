"""Open vectors and dashboards with SAEDashboard's own classes; run where it is installed."""

import json
import sys
from pathlib import Path

import torch
from sae_dashboard.neuronpedia.neuronpedia_dashboard import NeuronpediaDashboardBatch
from sae_dashboard.neuronpedia.vector_set import VectorSet
from sae_dashboard.vector_vis_data import VectorVisConfig
from sae_dashboard.vector_vis_runner import VectorVisRunner
from transformer_lens import HookedTransformer, HookedTransformerConfig

vectors = VectorSet.load(Path(sys.argv[1]) / "vectors.json")
width = vectors.cfg.d_in
torch.manual_seed(0)
model = HookedTransformer(
    HookedTransformerConfig(
        n_layers=vectors.hook_layer + 1,
        d_model=width,
        n_ctx=16,
        d_head=8,
        n_heads=2,
        d_mlp=16,
        d_vocab=40,
        act_fn="gelu",
    )
)
config = VectorVisConfig(
    hook_point=vectors.hook_point, vector_indices=[0, 1], minibatch_size_tokens=8
)
tokens = torch.randint(0, 40, (32, 12))
dashboards = VectorVisRunner(config).run(encoder=vectors, model=model, tokens=tokens)

batch = json.loads((Path(sys.argv[2]) / "batch-0.json").read_text(encoding="utf-8"))
read = NeuronpediaDashboardBatch(**batch)
print(
    json.dumps(
        {
            "names": vectors.names,
            "hook": vectors.hook_point,
            "layer": vectors.hook_layer,
            "products": vectors.encode(torch.eye(width)).tolist(),
            "dashboards": {
                number: len(data.sequence_data.seq_group_data)
                for number, data in dashboards.vector_data_dict.items()
            },
            "same_batch": read.to_dict() == batch,
            "features": [feature.feature_index for feature in read.features],
        }
    )
)
