"""Where an adapter can sit: edges between the nodes of a transformer's residual stream, their kinds and their costs.

A transformer of L blocks has n = 2 L + 1 nodes: node 0 is the embedding, node 2 l - 1 the stream after the attention
of block l (from 1), node 2 l the stream after its MLP. An edge (i, j) is an adapter that reads node i and adds what it
makes of it at node j.

Source: Nowak et al., "Towards Optimal Adapter Placement for Efficient Transfer Learning", arXiv 2410.15858 (2024).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from whenwhere.adapt.anatomy import Anatomy
from whenwhere.errors import InputError
from whenwhere.results.checks import integer

Edge = tuple[int, int]
EdgeKind = Literal["sequential", "parallel", "long_range", "recurrent"]
KINDS: tuple[EdgeKind, ...] = get_args(EdgeKind)
USUAL: tuple[EdgeKind, ...] = ("sequential", "parallel")


def kind_of(edge: Edge) -> EdgeKind:
    """The kind of an edge (i, j).

    "sequential": i = j, in series on a node; "parallel": j = i + 1, beside one sub-layer; "long_range": j > i + 1, past
    several; "recurrent": i > j, back to an earlier node, which takes a second pass.
    """
    i, j = edge
    if i > j:
        return "recurrent"
    return "sequential" if i == j else "parallel" if j == i + 1 else "long_range"


def all_edges(nodes: int, kinds: Iterable[str] = KINDS) -> list[Edge]:
    """All edges of a net, by target and then by source.

    Args:
        nodes: n, at least 1.
        kinds: which kinds to list.

    Raises:
        InputError: an unknown kind.
    """
    wanted = set(kinds)
    if not wanted <= set(KINDS):
        raise InputError(f"kinds of edges {sorted(wanted - set(KINDS))}", f"some of {', '.join(KINDS)}")
    return [(i, j) for j in range(nodes) for i in range(nodes) if kind_of((i, j)) in wanted]


# Name of a usual placement -> its edges in a net of n nodes.
_NAMED: dict[str, Callable[[int], list[Edge]]] = {
    "parallel": lambda n: [(j - 1, j) for j in range(1, n)],
    "sequential": lambda n: [(j, j) for j in range(1, n)],
    "pfeiffer": lambda n: [(j, j) for j in range(2, n, 2)],
    "adaptformer": lambda n: [(j - 1, j) for j in range(2, n, 2)],
}
NAMED = tuple(_NAMED)


def named_edges(name: str, nodes: int) -> tuple[Edge, ...]:
    """The edges of a usual placement.

    Args:
        name: "parallel" (beside every sub-layer), "sequential" (after every sub-layer, Houlsby et al. 2019), "pfeiffer"
            (after every MLP, Pfeiffer et al. 2021) or "adaptformer" (beside every MLP, Chen et al. 2022).
        nodes: n of the net.

    Raises:
        InputError: another name.
    """
    if name not in _NAMED:
        raise InputError(f"placement {name!r}", f"one of {', '.join(NAMED)}, or a list of edges")
    return tuple(_NAMED[name](nodes))


def check_edges(edges: Iterable[Any], nodes: int | None = None) -> tuple[Edge, ...]:
    """Edges as pairs of whole numbers, in the order given.

    Args:
        edges: pairs (source, target).
        nodes: n of the net that they must fit, if it is known.

    Raises:
        InputError: not pairs, outside of the net, or the same edge twice.
    """
    checked: list[Edge] = []
    for edge in edges:
        if not isinstance(edge, (tuple, list)) or len(edge) != 2:
            raise InputError(f"edge {edge!r}", "a pair (source node, target node)")
        i, j = (integer(f"a node of edge {edge}", end, least=0) for end in edge)
        if nodes is not None and max(i, j) >= nodes:
            raise InputError(f"edge {(i, j)}", f"nodes 0..{nodes - 1}", "search a placement on this backbone")
        checked.append((i, j))
    if len(set(checked)) < len(checked):
        twice = sorted({edge for edge in checked if checked.count(edge) > 1})
        raise InputError(f"edges {twice[:3]} given more than once", "no two edges alike")
    return tuple(checked)


def distance(a: Edge, b: Edge) -> int:
    """How far apart two edges lie: |i - i'| + |j - j'|."""
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def passes(edges: Iterable[Edge], nodes: int) -> float:
    """Sub-layers evaluated with a placement, over those of the net alone.

    1 without recurrent edges. With them the first pass ends at the last node that is fed back, and the second begins at
    the first node that is fed: (i_max + (n - 1) - j_min) / (n - 1) for the largest source and the smallest target.
    """
    back = [edge for edge in edges if kind_of(edge) == "recurrent"]
    if not back:
        return 1.0
    return (max(i for i, _ in back) + nodes - 1 - min(j for _, j in back)) / (nodes - 1)


@dataclass(frozen=True)
class PlacementCost:
    """What a placement costs.

    Attributes:
        adapters: how many.
        parameters: trained numbers, without the head.
        relative_flops: multiply-adds of the backbone's sub-layers with this placement, over those without: 1 to 2.
        adapter_flops: multiply-adds of the adapters, over those of the backbone's sub-layers.
    """

    adapters: int
    parameters: int
    relative_flops: float
    adapter_flops: float


def adapter_parameters(width: int, rank: int) -> int:
    """Trained numbers of one adapter: 2 D r + D + r."""
    return 2 * width * rank + width + rank


def placement_cost(parts: Anatomy, edges: Sequence[Edge], rank: int) -> PlacementCost:
    """What a placement costs on a backbone, counted and not measured.

    Args:
        parts: of the backbone.
        edges: of the placement.
        rank: of each adapter.
    """
    work = []  # multiply-adds of each sub-layer
    for sublayer in parts.sublayers:
        linears: list[Any] = [parts.backbone.get_submodule(name) for name in sublayer.linears.values()]
        mixing = 2 * parts.tokens**2 * parts.width if sublayer.kind == "attention" else 0
        work.append(sum(linear.weight.numel() for linear in linears) * parts.tokens + mixing)
    back = [edge for edge in edges if kind_of(edge) == "recurrent"]
    read = max((i for i, _ in back), default=0)  # the first pass ends here where there is a second one
    turn = min((j for _, j in back), default=len(work))
    again = sum(work[turn:read])  # sub-layer k leads to node k + 1, and what was not run twice is run once
    runs = sum(
        2 if turn < j <= read or (i == j == turn) else 1  # beyond the turn both passes run it
        for i, j in edges
        if i <= j
    ) + len(back)
    one = 2 * parts.tokens * parts.width * rank
    return PlacementCost(
        len(edges),
        len(edges) * adapter_parameters(parts.width, rank),
        1 + again / sum(work),
        runs * one / sum(work),
    )
