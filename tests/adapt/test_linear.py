"""The linear probe is softmax regression on the backbone's pooled vector."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from adapt.conftest import MAKERS, pixels_for
from whenwhere.adapt.linear import LinearProbe


@pytest.mark.parametrize("kind", MAKERS)
def test_the_probe_reads_the_pooled_vector_and_trains_its_head_alone(make_backbone, kind):
    backbone = make_backbone(kind)
    pixels, label = pixels_for(backbone), torch.tensor([0, 2, 1, 0])
    probe = LinearProbe(backbone, "abc")
    assert probe.counts() == {"adapter": 0, "head": 3 * backbone.width + 3}
    torch.testing.assert_close(probe.vector(pixels), backbone.pooled(pixels))
    probe.loss({"pixels": pixels, "label": label})["loss"].backward()
    # the gradient of a softmax regression whose weights are zero, by its formula
    error = (torch.full((4, 3), 1 / 3) - F.one_hot(label, 3)) / 4
    torch.testing.assert_close(probe.head.weight.grad, error.T @ backbone.pooled(pixels))
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_of_a_clip_it_reads_the_mean_over_the_frames(make_backbone):
    backbone = make_backbone("clip")
    clip = pixels_for(backbone, count=6).unflatten(0, (2, 3))
    expected = backbone.pooled(clip.flatten(0, 1)).unflatten(0, (2, 3)).mean(1)
    torch.testing.assert_close(LinearProbe(backbone, "ab").vector(clip), expected)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_backbone_in_bfloat16_feeds_a_head_in_float32(make_backbone, kind):
    backbone = make_backbone(kind).bfloat16()
    probe = LinearProbe(backbone, "ab")
    vector = probe.vector(pixels_for(backbone))
    assert vector.dtype == probe.head.weight.dtype == torch.float32
    torch.testing.assert_close(vector, backbone.pooled(pixels_for(backbone).bfloat16()).float(), atol=0.1, rtol=0.02)
