"""Send an export with the package ``neuronpedia`` to an address; run where it is installed."""

import json
import sys
from pathlib import Path

from neuronpedia.np_activation import Activation
from neuronpedia.np_explanation import Explanation
from neuronpedia.np_feature import Feature, Logit
from neuronpedia.requests.base_request import NPRequest
from neuronpedia.requests.feature_request import FeatureRequest
from neuronpedia.requests.vector_request import VectorRequest

folder = Path(sys.argv[1])
NPRequest.BASE_URL = sys.argv[2]
upload = json.loads((folder / "upload-0.json").read_text(encoding="utf-8"))
model, source = upload["modelId"], upload["source"]
features = [
    Feature(
        model,
        source,
        one["index"],
        density=one["density"],
        top_logits=one["topLogits"] and [Logit(**logit) for logit in one["topLogits"]],
        bottom_logits=one["bottomLogits"] and [Logit(**logit) for logit in one["bottomLogits"]],
        explanations=[
            Explanation(
                model,
                source,
                one["index"],
                label["text"],
                method=label["methodName"],
                explainer_model=label["modelName"],
            )
            for label in one["explanations"]
        ],
        activations=[Activation(model, source, one["index"], **a) for a in one["activations"]],
    )
    for one in upload["features"]
]
FeatureRequest(api_key="none").upload_batch(model, source, features)
vector = json.loads((folder / "steering.jsonl").read_text(encoding="utf-8").splitlines()[0])
VectorRequest(api_key="none").new(
    label=vector["vectorLabel"],
    model_id=vector["modelId"],
    layer_num=vector["layerNumber"],
    hook_type=vector["hookType"],
    vector=vector["vector"],
    default_steer_strength=vector["vectorDefaultSteerStrength"],
)
