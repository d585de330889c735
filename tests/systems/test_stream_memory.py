"""A stream may be as long as it likes: what is kept does not grow with the frames."""

from __future__ import annotations

import gc
from dataclasses import replace

import psutil
import pytest
import torch
from small_captioners import build, random_tokens, small_config

from whenwhere.layers.memory import MemoryConfig
from whenwhere.systems.session import StreamSession
from whenwhere.systems.streaming_dvc import StreamingDVC

TOKENS, WIDTH, SIZE = 4, 64, 16  # a frame is 1 kB: 6.4 MB if all were kept


def captioner(kind: str = "kmeans") -> StreamingDVC:
    """A captioner that speaks at every decoding point, so that its text is remembered too."""
    config = small_config(token_width=WIDTH, tokens_per_frame=TOKENS, memory=MemoryConfig(kind=kind, size=SIZE))
    return build(config)


def stream(model: StreamingDVC, horizon: int | None) -> StreamSession:
    options = replace(model.config.stream, interval=32 if horizon else 64, horizon=horizon, beam=1)
    return model.session(1.0, options)


def tensor_bytes() -> int:
    """Bytes of the storages of all tensors alive in this process."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if type(thing) in (torch.Tensor, torch.nn.Parameter):
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


@pytest.mark.parametrize(
    ("horizon", "memories", "lengths"), [(None, 1, (64, 640, 6400)), (64, 2, (64, 640, 2560))], ids=["whole", "horizon"]
)
def test_memory_is_flat_in_the_number_of_frames(horizon, memories, lengths):
    model = captioner()
    frames = random_tokens(0, 64, TOKENS, WIDTH)
    session = stream(model, horizon)
    process, events = psutil.Process(), 0
    peaks, tensors, sizes = [], [], []
    peak = done = 0
    for length in lengths:
        for t in range(done, length):
            events += len(session.push(frames[t % 64] + t % 7, float(t)))
            if t % 32 == 0:
                peak = max(peak, process.memory_info().rss)
        done = length
        peaks.append(peak)
        tensors.append(tensor_bytes())
        sizes.append(session.nbytes())
    assert events > 20  # it had something to remember besides the frames
    assert tensors[0] == tensors[1] == tensors[2]
    state = sum(slot.memory.nbytes() for slot in session._slots.values())
    # Counts are float64 here, eight bytes as the integers of the paper's state.
    assert state == memories * (SIZE * WIDTH * 4 + SIZE * 8)
    # The words remembered for the prefix are bounded by their number (256 events), not by a size.
    assert sizes[2] - state < 256 * 400
    assert peaks[2] - peaks[1] < 3 * 2**20  # RSS comes in pages and arenas; all frames would be 6.4 MB


def test_the_tensor_count_sees_a_memory_that_keeps_all():
    model = captioner("none")
    frames = random_tokens(0, 64, TOKENS, WIDTH)
    state, before, found = model.empty_memory(), tensor_bytes(), []
    for t in range(640):
        state = model.remember(state, frames[t % 64], float(t))
        if t + 1 in (64, 640):
            found.append(tensor_bytes() - before)
    assert found[1] == state.nbytes() == 640 * TOKENS * (WIDTH * 4 + 8) == 10 * found[0]
