"""Tensor types and the closed list of axis names used in every public signature.

Axis names (lengths that must agree within one call):

=========  ==============================================================================
rows       one activation vector each: usually one token of one text
channels   what a row is made of: MLP neurons, residual dimensions, head outputs
features   atoms of a dictionary; equally the columns of the codes
d_model    width of the residual stream
d_head     width of one attention head
heads      attention heads of a layer
rank       inner size of a matrix kept as a product of two
vocab      tokens of the model's vocabulary
texts      sentences or documents of a corpus
concepts   labels of a corpus
batch      texts of one forward pass
position   tokens of a padded batch
values     figures of one kind that a statistic is taken over: one a feature, a text, a pair
rank       inner size of a matrix kept as a product of two factors
restarts   runs of one method from other starts or on other draws of the data
draws      repetitions of something random
prompts    texts after which next-token logits are read
targets    groups of tokens whose logits are read
=========  ==============================================================================
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

ActivationMatrix: TypeAlias = Float[Tensor, "rows channels"]
CodeMatrix: TypeAlias = Float[Tensor, "rows features"]
AtomMatrix: TypeAlias = Float[Tensor, "features channels"]
IntArray: TypeAlias = Int[np.ndarray, "rows"]

__all__ = [
    "ActivationMatrix",
    "AtomMatrix",
    "Bool",
    "CodeMatrix",
    "Float",
    "Int",
    "IntArray",
    "Tensor",
]
