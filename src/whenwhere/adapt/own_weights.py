"""Methods that train weights which the backbone has already: all of them, or its biases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from whenwhere.adapt.adapted import Adapted
from whenwhere.adapt.anatomy import sharing
from whenwhere.adapt.dry_run import reached
from whenwhere.backbones.vision import Backbone
from whenwhere.errors import InputError


@dataclass(frozen=True)
class NoSettings:
    """The config of a method without settings."""


class OwnWeights(Adapted):
    """Trains copies of some of the backbone's own parameters; the backbone keeps its own.

    A method is its :meth:`trains`. Dropout, stochastic depth and batch statistics stay as in evaluation. Parameters
    that the pooled vector does not depend on (a classifier) are left out.

    The copies have the dtype of the backbone's weights and train in it: of a backbone in bfloat16, whose steps are lost
    where they are below 1/256 of a weight, take ``backbone.float()`` to train. The head is float32.
    """

    Config = NoSettings

    def __init__(self, backbone: Backbone, labels: Sequence[str], config: Any = None) -> None:
        super().__init__(backbone, labels, config)
        twin, names = sharing(backbone), set(reached(backbone).parameters)
        copies = {
            id(parameter): nn.Parameter(parameter.detach().clone())
            for name, parameter in twin.named_parameters()
            if name in names and self.trains(name)
        }
        if not copies:
            raise InputError(f"{backbone.name} has nothing that {self.method} trains", "another method, or backbone")
        self.weights = nn.ParameterDict()
        for name, parameter in list(twin.named_parameters(remove_duplicate=False)):  # every place of a tied weight
            if id(parameter) in copies:
                owner, _, leaf = name.rpartition(".")
                setattr(twin.get_submodule(owner), leaf, copies[id(parameter)])
        for name, parameter in twin.named_parameters():
            if parameter.requires_grad:
                self.weights[name.replace(".", "/")] = parameter  # names of parameters may hold no dot
        self.__dict__["twin"] = twin  # not a submodule: the frozen rest is not this module's

    twin: Backbone

    @staticmethod
    def trains(name: str) -> bool:
        """Whether the parameter of this name in the backbone is trained."""
        raise NotImplementedError

    def vector(self, pixels: Tensor) -> Tensor:
        return self.twin.pooled(pixels)


class FullFineTuning(OwnWeights):
    """Every weight is trained: the upper bound in cost, and in accuracy where data abound."""

    method = "full"

    @staticmethod
    def trains(name: str) -> bool:
        return True


class BitFit(OwnWeights):
    """Only the bias vectors are trained (Ben Zaken et al., "BitFit", ACL 2022)."""

    method = "bitfit"

    @staticmethod
    def trains(name: str) -> bool:
        return name.endswith("bias")
