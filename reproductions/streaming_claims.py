"""Do the claims of Streaming Dense Video Captioning (Zhou et al., CVPR 2024) hold at small scale?

Command: ``python reproductions/streaming_claims.py [--claims memory momentum points prefix split] [--seeds 0 1 2]``
Cost: about 17 minutes of one core (72 runs of 5 to 30 s). A run that is done is in the results at once, and a second
call goes on with those that are missing; results of another version of the task are refused, not mixed.

The task is synthetic (``_toy_videos.py``), the captioner is the real one with real memories, decoding points and stream
sessions (``_toy_captioner.py``). The task was settled with K-means alone in view. In a first pilot (one decoding point,
600 steps from random weights) no content word was learned, so the common start was added. In the second (the paper's
way with all on, 200 steps, 24 other videos) CIDEr was 319 of at most 1000 and F1 55, which left room both ways, so
nothing was changed any more, and then all arms were run once.

Departures from the paper, the same in all arms: frame tokens carry time (``TimeFeatures``), without which a decoder
this small cannot tell the order of events; time bins divide a fixed window; the search is greedy; 4 of the 8 decoding
points of a video, drawn at random, enter a step. As in the paper, the memories are compared with one decoding point in
training and in test. The other arms have two decoding points in test, but the arm that was trained with one point has
one; some were also run with other numbers.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from _claims_table import write_section
from _record import read_record, write_record
from _toy_captioner import Arm, Size, common_start, run, use_of_memory
from _toy_videos import VideoConfig

from whenwhere.layers.memory import MemoryKind

OUT = Path(__file__).parent / "results" / "streaming_claims.json"
KINDS: tuple[MemoryKind, ...] = ("kmeans", "temporal_pool", "spatial_pool", "ema", "adjacent_merge", "none")
FRAMES = (64, 16, 256)
PACKAGES = ("torch", "numpy", "tokenizers")

ARMS: dict[str, dict[str, Arm]] = {
    "points": {
        "full": Arm(),
        "kmeans-64": Arm(points=1),
        "kmeans-64-longer": Arm(points=1, longer=4),
    },
    "prefix": {"full": Arm(), "no-prefix": Arm(prefix="none"), "timed-prefix": Arm(prefix="timed")},
    "split": {"full": Arm(), "no-split": Arm(form="plain")},
    "momentum": {f"kmeans-{t}-equal": Arm(frames=t, points=1, momentum=False) for t in (64, 256)}
    | {f"kmeans-{t}": Arm(frames=t, points=1) for t in (64, 256)},
    "memory": {
        f"{kind}-{frames}": Arm(kind, frames, points=1)
        for frames in FRAMES
        for kind in KINDS
        if (kind, frames) != ("none", 256)  # 1536 visual tokens a row
    },
}


def settings(size: Size) -> dict[str, Any]:
    """What decides the results besides arm and seed."""
    return json.loads(json.dumps({"size": dataclasses.asdict(size), "videos": dataclasses.asdict(VideoConfig())}))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the results and the section of REPRODUCTIONS.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--claims", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, each with one thread")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # sums come out the same everywhere, and matrices this small do not gain from more
    size = Size()
    record = read_record(options.out, settings(size))
    arms = {name: arm for claim in options.claims for name, arm in ARMS[claim].items()}
    for seed in options.seeds:
        missing = [name for name in arms if f"{name}/{seed}" not in record["runs"]]
        if not missing:
            continue
        start = common_start(size, seed)
        with ProcessPoolExecutor(options.jobs, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
            waiting = {pool.submit(run, arms[name], size, seed, start): name for name in missing}
            for done in as_completed(waiting):
                record["runs"][f"{waiting[done]}/{seed}"] = result = done.result()
                write_record(record, options.out, PACKAGES)
                print(waiting[done], seed, json.dumps(result["scores"]), flush=True)
    if "use_of_memory" not in record:
        record["use_of_memory"] = {
            f"{kind}-{frames}": use_of_memory(Arm(kind, frames, points=1), size, 0)
            for kind in ("kmeans", "adjacent_merge")
            for frames in sorted(FRAMES)
        }
        write_record(record, options.out, PACKAGES)
    if options.out == OUT:
        write_section(record)


if __name__ == "__main__":
    main()
