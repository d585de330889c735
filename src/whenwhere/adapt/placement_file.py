"""A placement on disk: which edges, for a net of how many nodes, and the scores that they were chosen by."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from whenwhere.adapt.anatomy import anatomy
from whenwhere.adapt.edges import KINDS, Edge, check_edges, kind_of, placement_cost
from whenwhere.adapt.placement import PlacementConfig
from whenwhere.backbones.vision import Backbone
from whenwhere.datasets.fields import Field, read_json
from whenwhere.errors import InputError
from whenwhere.reports import charts
from whenwhere.results import checks
from whenwhere.results.files import write_text
from whenwhere.results.record import dump_json

SCHEMA = "whenwhere.placement/1"


@dataclass(frozen=True, eq=False)
class Placement:
    """Chosen edges, in the order of their choice.

    Args:
        nodes: n of the net that they belong to.
        edges: pairs (source node, target node).
        backbone: what the backbone was loaded as, for people to read; only ``nodes`` decides where a placement fits.
        scores: float64 (n, n), [source, target], or None.
        settings: how the edges were found, as plain JSON values.

    Raises:
        InputError: an edge outside of the net, the same edge twice, or scores of another shape or not finite.
    """

    nodes: int
    edges: tuple[Edge, ...]
    backbone: str = ""
    scores: np.ndarray | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.integer("nodes of a placement", self.nodes, least=1)
        object.__setattr__(self, "edges", check_edges(self.edges, self.nodes))
        if self.scores is not None:
            shape = (self.nodes, self.nodes)
            object.__setattr__(self, "scores", checks.array("scores of a placement", self.scores, np.float64, shape))

    def config(self, backbone: Backbone | None = None, **settings: Any) -> PlacementConfig:
        """The config of :class:`~whenwhere.adapt.placement.PlacedAdapters` with these edges.

        Args:
            backbone: that they are meant for; its nodes are compared.
            settings: other fields of the config.

        Raises:
            InputError: the backbone has another number of nodes.
        """
        if backbone is not None and 2 * backbone.depth + 1 != self.nodes:
            raise InputError(
                f"a placement for {self.nodes} nodes on {backbone.name}, which has {2 * backbone.depth + 1}",
                "a backbone of the same depth",
                "search a placement on this backbone",
            )
        return PlacementConfig(edges=self.edges, **settings)

    def summary(self, backbone: Backbone, rank: int = 8) -> str:
        """What was chosen and what it costs, a line for each edge and one for each cost."""
        self.config(backbone)
        cost = placement_cost(anatomy(backbone), self.edges, rank)
        lines = []
        for i, j in self.edges:
            score = "" if self.scores is None else f"  score {self.scores[i, j]:g}"
            lines.append(f"node {i:>3} to {j:>3}  {kind_of((i, j)).replace('_', '-'):<10}{score}")
        return "\n".join(
            [
                *lines,
                f"{cost.adapters} adapters of rank {rank}: {cost.parameters:,} trained numbers, head not counted",
                f"forward cost {cost.relative_flops:.2f} x the backbone, adapters {cost.adapter_flops:.2%} more",
            ]
        )

    def draw(self, path: str | os.PathLike[str], title: str = "") -> Path:
        """Write the scores of all edges as a heat map, the chosen ones framed.

        Args:
            path: the ``.png`` to write.
            title: above it; by default how many are chosen.

        Raises:
            InputError: a placement without scores, or a file that cannot be written.
        """
        if self.scores is None:
            raise InputError("a placement without scores", "one that a search wrote")
        names = [str(node) for node in range(self.nodes)]
        return charts.heat_map(
            path,
            self.scores,
            names,
            names,
            rows="source node",
            columns="target node",
            title=title or f"{len(self.edges)} chosen edges, framed",
            low=float(np.quantile(self.scores, 0.1)),  # the last nodes are often far below all others
            bar=f"{self.settings.get('score', 'score')} of the gradient; lowest tenth drawn alike".replace("_", " "),
            marks=self.edges,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write JSON, whole or not at all."""
        edges = [{"from": i, "to": j, "kind": kind_of((i, j))} for i, j in self.edges]
        data: dict[str, Any] = {"schema": SCHEMA, "backbone": self.backbone, "nodes": self.nodes, "edges": edges}
        data["settings"] = dict(self.settings)
        if self.scores is not None:
            data["scores"] = self.scores.tolist()
        write_text(path, dump_json(data))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Placement:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: no such file, not of this form, or an edge that is not of the kind that the file says.
        """
        data = read_json(path, "placement")
        data["schema"].text([SCHEMA])
        nodes = data["nodes"].whole(least=1)
        scores = None
        if data.has("scores"):
            scores = np.array([row.numbers(nodes) for row in data["scores"].items(nodes)])
        settings = {name: value.value for name, value in data["settings"].entries().items()}
        edges = tuple(_edge(item, nodes) for item in data["edges"].items())
        return cls(nodes, edges, data["backbone"].text(), scores, settings)


def _edge(item: Field, nodes: int) -> Edge:
    edge = item["from"].whole(0, nodes - 1), item["to"].whole(0, nodes - 1)
    said = item["kind"].text(KINDS)
    if said != kind_of(edge):
        raise InputError(f"{item.place} from {edge[0]} to {edge[1]} is called {said}", kind_of(edge))
    return edge
