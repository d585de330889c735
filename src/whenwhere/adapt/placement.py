"""Adapters at chosen places of a frozen transformer: beside or after its sub-layers, far ahead, or back.

Which edges to choose is found by :func:`whenwhere.adapt.search.search_placement`; the usual placements have names.

Source: Nowak et al., "Towards Optimal Adapter Placement for Efficient Transfer Learning", arXiv 2410.15858 (2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from whenwhere.adapt.adapted import Adapted
from whenwhere.adapt.anatomy import anatomy
from whenwhere.adapt.bottleneck import Bottleneck
from whenwhere.adapt.edges import Edge, PlacementCost, check_edges, kind_of, named_edges, placement_cost
from whenwhere.backbones.vision import Backbone
from whenwhere.errors import InputError


@dataclass(frozen=True)
class PlacementConfig:
    """Where the adapters sit, and how they are made.

    Args:
        edges: pairs (source node, target node), or the name of a usual placement (see
            :func:`whenwhere.adapt.edges.named_edges`).
        rank: channels of each bottleneck.
        scale: factor on what an adapter adds.
        pre_norm: a layer norm without weights in front of each adapter.
        detach_first_pass: with recurrent edges, no gradient through the first pass: less memory, another gradient.

    Raises:
        InputError: edges that are no pairs or repeat each other, or a rank below 1.
    """

    edges: str | tuple[Edge, ...] = "parallel"
    rank: int = 8
    scale: float = 1.0
    pre_norm: bool = False
    detach_first_pass: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.edges, str):
            object.__setattr__(self, "edges", check_edges(self.edges))
        if self.rank < 1:
            raise InputError(f"rank={self.rank}", "at least 1")


class PlacedAdapters(Adapted):
    """A frozen transformer with bottleneck adapters at the edges of a placement.

    Node j of the residual stream is ``z = z_before + branch_j(z_before)``, then plus the adapters that end there:
    forward ones read their source of the same pass, recurrent ones what their source was in the first pass, and a
    sequential one reads the node itself, last. Without recurrent edges there is one pass. With any there are two,
    never more: in the first the recurrent adapters are silent; it ends at the last node that one of them reads. The
    second begins at the first node that one of them feeds, because nothing before it can differ. Both give what two
    whole passes would give, to the bit.

    Args:
        backbone: any that :func:`~whenwhere.adapt.anatomy.anatomy` takes apart.
        labels: class names.
        config: where the adapters sit; default beside every sub-layer.

    Attributes:
        edges: of the placement, in the order of the config.
        start: the first node that has to do with an adapter. What comes before needs no gradient and never changes:
            :meth:`frozen_start` can be computed once for a dataset.

    Raises:
        InputError: no transformer, or an edge outside of it.
    """

    method = "placed"
    transformers_only = True
    Config = PlacementConfig

    def __init__(self, backbone: Backbone, labels: Sequence[str], config: PlacementConfig | None = None) -> None:
        super().__init__(backbone, labels, config)
        self.parts = anatomy(backbone)
        settings: PlacementConfig = self.config
        self._last = len(self.parts.sublayers)
        nodes = self._last + 1
        given = settings.edges
        self.edges = named_edges(given, nodes) if isinstance(given, str) else check_edges(given, nodes)
        self.adapters = nn.ModuleDict(
            {
                _key(edge): Bottleneck(self.parts.width, settings.rank, settings.scale, settings.pre_norm)
                for edge in self.edges
            }
        )
        # sources by target, in the order in which they are added
        self._forward: dict[int, list[int]] = {j: [] for j in range(nodes)}
        self._back: dict[int, list[int]] = {j: [] for j in range(nodes)}
        for i, j in sorted(self.edges):
            if i != j:
                (self._forward if i < j else self._back)[j].append(i)
        recurrent = [edge for edge in self.edges if kind_of(edge) == "recurrent"]
        self._turn = min((j for _, j in recurrent), default=None)
        self._fed_back = max((i for i, _ in recurrent), default=0)
        self._sources = {i for i, j in self.edges if i != j}
        self.start = min((min(edge) for edge in self.edges), default=self._last)

    def vector(self, pixels: Tensor) -> Tensor:
        return self.vector_from(self.frozen_start(pixels))

    def frozen_start(self, pixels: Tensor) -> Tensor:
        """The stream at node ``start`` before any adapter, outside of autograd: (B, 3, s, s) to (B, N, D)."""
        return frozen_node(self.parts, pixels, self.start)

    def vector_from(self, state: Tensor) -> Tensor:
        """The adapted vector, (B, width), from the frozen stream at node ``start``, (B, N, D)."""
        return self.backbone.finish(self.stream_from(state))

    def loss(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """As :meth:`Adapted.loss`; a batch may hold "states" in place of "pixels": a list of one, the frozen start."""
        if "states" in batch:
            (state,) = batch["states"]
            return self._scores(self.head(self.vector_from(state)), batch["label"])
        return super().loss(batch)

    def stream_from(self, state: Tensor) -> Tensor:
        """The stream after the last block, (B, N, D), from the frozen stream at node ``start``."""
        read: dict[int, Tensor] = {}
        if self._turn is None:
            return self._run(state, self.start, self._last, read)
        if self._turn > self.start:  # what both passes share
            state = self._run(state, self.start, self._turn - 1, read)
            state = self._arrive(state, self._turn, read)
        first = dict(read)
        with torch.no_grad() if self.config.detach_first_pass else nullcontext():
            self._run(state, self._turn, self._fed_back, first)
        return self._run(state, self._turn, self._last, read, first)

    def cost(self) -> PlacementCost:
        """Trained numbers and multiply-adds, counted."""
        return placement_cost(self.parts, self.edges, self.config.rank)

    def _run(
        self, z: Tensor, begin: int, end: int, read: dict[int, Tensor], before: Mapping[int, Tensor] | None = None
    ) -> Tensor:
        """From node ``begin`` as it arrives to node ``end`` when all is added; ``before`` are the first pass's nodes.

        Nodes that are read later are written into ``read``.
        """
        for j in range(begin, end + 1):
            if j > begin:
                z = self._arrive(z, j, read)
            if before is not None:
                for i in self._back[j]:
                    z = z + self.adapters[_key((i, j))](before[i])
            if _key((j, j)) in self.adapters:
                z = z + self.adapters[_key((j, j))](z)
            if j in self._sources:
                read[j] = z
        return z

    def _arrive(self, z: Tensor, j: int, read: Mapping[int, Tensor]) -> Tensor:
        """Node j from node j - 1: the sub-layer, then the forward adapters that end there."""
        z = z + self.parts.sublayers[j - 1].update(z)
        for i in self._forward[j]:
            z = z + self.adapters[_key((i, j))](read[i])
        return z


def frozen_node(parts: Any, pixels: Tensor, node: int) -> Tensor:
    """The stream of the frozen backbone at a node, outside of autograd.

    Args:
        parts: the backbone's :class:`~whenwhere.adapt.anatomy.Anatomy`.
        pixels: float (B, 3, size, size), normalised.
        node: 0..n-1.

    Returns:
        (B, N, D).
    """
    with torch.no_grad():  # not inference_mode, whose tensors may not be kept for a backward pass
        z = parts.embed(pixels)
        for sublayer in parts.sublayers[:node]:
            z = z + sublayer.update(z)
    return z


def _key(edge: Edge) -> str:
    return f"{edge[0]}_to_{edge[1]}"
