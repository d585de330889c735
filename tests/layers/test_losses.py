"""The losses of timed captions, against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from whenwhere.errors import InputError
from whenwhere.layers.losses import caption_loss, no_loss, smoothed_cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothed_target_is_as_stated(smoothing):
    torch.manual_seed(0)
    logits, targets = 3 * torch.randn(20, 11), torch.randint(0, 11, (20,))
    wanted = torch.full((20, 11), smoothing / 10)
    wanted[range(20), targets] = 1 - smoothing
    expected = -(wanted * logits.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(smoothed_cross_entropy(logits, targets, smoothing), expected)


def test_torch_smooths_differently():
    logits, targets = torch.randn(5, 7), torch.randint(0, 7, (5,))
    theirs = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.1, reduction="none")
    assert not torch.allclose(smoothed_cross_entropy(logits, targets, 0.1), theirs)


def test_equal_logits_cost_the_log_of_the_vocabulary():
    nats = smoothed_cross_entropy(torch.zeros(3, 30586), torch.tensor([0, 7, 30585]))
    assert nats.tolist() == pytest.approx([math.log(30586)] * 3, abs=1e-3)


NATS, TARGETS = torch.tensor([1.0, 2.0, 3.0, 10.0, 20.0]), torch.tensor([4, 5, 3, 8, 9])


def test_git_form_weighs_two_means():
    parts = caption_loss(NATS, TARGETS, first_time=8, time_weight=0.5)
    assert {k: v.item() for k, v in parts.items()} == {
        "loss": 2 + 0.5 * 15,
        "word_loss": 2,
        "time_loss": 15,
        "words": 3,
        "times": 2,
    }


def test_vid2seq_form_is_one_mean():
    assert caption_loss(NATS, TARGETS, first_time=8, time_weight=None)["loss"].item() == pytest.approx(36 / 5)


@pytest.mark.parametrize("time_weight", [0.5, None])
def test_parts_of_a_batch_sum_to_the_whole(time_weight):
    whole = caption_loss(NATS, TARGETS, 8, time_weight)["loss"]
    parts = [caption_loss(NATS[s], TARGETS[s], 8, time_weight, totals=(3, 2))["loss"] for s in (slice(2), slice(2, 5))]
    torch.testing.assert_close(sum(parts), whole)


def test_a_batch_without_time_tokens_or_without_anything():
    assert caption_loss(NATS[:3], TARGETS[:3], 8, 0.5)["loss"].item() == 2
    weights = [torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)]
    parts = no_loss(weights)
    parts["loss"].backward()
    assert parts["loss"].item() == 0 and [w.grad.tolist() for w in weights] == [[0, 0, 0], [0, 0]]


def test_bad_smoothing_is_refused():
    with pytest.raises(InputError):
        smoothed_cross_entropy(torch.zeros(1, 2), torch.tensor([0]), 1.0)
