"""Fourier features of time: what a memory token can tell of when its members were seen."""

from __future__ import annotations

import math

import pytest
import torch

from whenwhere.errors import InputError
from whenwhere.layers.memory import MemoryConfig, build_memory
from whenwhere.layers.time_features import TimeFeatures


def test_values_are_sines_and_cosines_one_octave_apart():
    features = TimeFeatures(frequencies=3, shortest=4.0).encode(torch.tensor([0.0, 1.0, 2.0]))
    expected = [
        [math.sin(2 * math.pi * t / p) for p in (4, 8, 16)] + [math.cos(2 * math.pi * t / p) for p in (4, 8, 16)]
        for t in (0, 1, 2)
    ]
    torch.testing.assert_close(features, torch.tensor(expected), atol=1e-6, rtol=0)


def test_phase_survives_a_week_of_frames():
    frames = 4.0 * 2**7 * 2000  # a whole number of turns at every frequency
    late = TimeFeatures().encode(torch.tensor([frames + 3.0], dtype=torch.float64))
    torch.testing.assert_close(late, TimeFeatures().encode(torch.tensor([3.0])), atol=1e-6, rtol=0)


def test_append_and_rescale_are_inverse_up_to_the_gain():
    features = TimeFeatures(frequencies=4, weight=0.25, gain=3.0)
    tokens = torch.randn(2, 5, 3, 6)
    marked = features.append(tokens, torch.arange(5.0).expand(2, 5))
    assert marked.shape == (2, 5, 3, 6 + features.width)
    assert torch.equal(marked[..., :6], tokens)
    torch.testing.assert_close(marked[..., 6:].square().sum(-1), torch.full((2, 5, 3), 4 * 0.25**2))
    read = features.rescale(marked.flatten(1, 2))
    torch.testing.assert_close(read[..., 6:].square().sum(-1), torch.full((2, 15), 4 * 3.0**2))


def test_a_memory_token_tells_mean_and_spread_of_its_times():
    """The features are the characteristic function: the angle is 2 pi mean / period, the length falls with spread."""
    features = TimeFeatures(frequencies=4, shortest=8.0, weight=1e-4, gain=1.0)
    times = torch.arange(64.0)
    places = torch.zeros(1, 64, 1, 2)
    places[:, :40, :, 0], places[:, 40:, :, 1] = 10.0, 10.0  # one thing for frames 0..39, another for 40..63
    two_starts = torch.cat([places[:, :1], places[:, 40:41], places[:, 1:40], places[:, 41:]], dim=1)
    order = torch.cat([times[:1], times[40:41], times[1:40], times[41:]])
    memory = build_memory(MemoryConfig(size=2))
    read = features.rescale(memory.run(features.append(two_starts, order.unsqueeze(0)))[63].tokens)
    for slot, span in enumerate([(0, 40), (40, 64)]):
        members, period = times[span[0] : span[1]], 64.0  # the lowest frequency
        sine, cosine = read[0, slot, 2 + 3], read[0, slot, 2 + 7]
        angle = math.atan2(sine, cosine) % (2 * math.pi)
        assert angle * period / (2 * math.pi) == pytest.approx(members.mean().item(), abs=1e-2)
        n = len(members)
        length = abs(math.sin(math.pi * n / period) / (n * math.sin(math.pi / period)))
        assert math.hypot(sine, cosine) == pytest.approx(length, abs=1e-3)


def test_off_means_untouched():
    tokens = torch.randn(1, 2, 3, 4)
    features = TimeFeatures(frequencies=0)
    assert features.width == 0
    assert features.append(tokens, torch.zeros(1, 2)) is tokens and features.rescale(tokens) is tokens


@pytest.mark.parametrize("options", [{"frequencies": -1}, {"shortest": 0.0}, {"weight": 0.0}])
def test_bad_numbers_are_refused(options):
    with pytest.raises(InputError):
        TimeFeatures(**options)
