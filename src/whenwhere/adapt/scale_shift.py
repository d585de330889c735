"""SSF: scale and shift what the operations of a backbone give (Lian et al., NeurIPS 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from whenwhere.adapt.adapted import Adapted, dtype_of
from whenwhere.adapt.anatomy import sharing
from whenwhere.adapt.dry_run import reached
from whenwhere.adapt.own_weights import NoSettings
from whenwhere.backbones.vision import Backbone


class ScaleShift(Adapted):
    """``gamma * op(x) + beta`` by channel after every linear layer, layer norm and convolution, of CNNs too.

    gamma starts at 1 and beta at 0. Both are float32; what they give has the dtype of the backbone's weights.
    """

    method = "ssf"
    Config = NoSettings

    def __init__(self, backbone: Backbone, labels: Sequence[str], config: Any = None) -> None:
        super().__init__(backbone, labels, config)
        twin, self._kind = sharing(backbone), dtype_of(backbone)
        self.gamma, self.beta = nn.ParameterDict(), nn.ParameterDict()
        for name, channels in reached(backbone).modules.items():
            key = name.replace(".", "/")  # names of parameters may hold no dot
            self.gamma[key] = nn.Parameter(torch.ones(channels))
            self.beta[key] = nn.Parameter(torch.zeros(channels))
            twin.get_submodule(name).register_forward_hook(partial(self._change, key))
        self.__dict__["twin"] = twin  # not a submodule: the frozen backbone is not this module's

    twin: Backbone

    def _change(self, key: str, module: nn.Module, inputs: Any, out: Tensor) -> Tensor:
        gamma, beta = self.gamma[key], self.beta[key]
        if isinstance(module, nn.Conv2d):  # channels of maps are the second axis
            gamma, beta = gamma[:, None, None], beta[:, None, None]
        return (gamma * out + beta).to(self._kind)

    def vector(self, pixels: Tensor) -> Tensor:
        return self.twin.pooled(pixels)
