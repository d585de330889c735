"""A transformer taken apart gives what it gives whole, to the bit."""

from __future__ import annotations

import pytest
import torch

from adapt.conftest import MAKERS, TRANSFORMERS, pixels_for
from whenwhere.adapt.anatomy import anatomy, sharing
from whenwhere.errors import InputError


@pytest.mark.parametrize("kind", MAKERS)
def test_finish_takes_the_last_state_to_the_pooled_vector(make_backbone, kind):
    backbone = make_backbone(kind)
    pixels = pixels_for(backbone)
    assert torch.equal(backbone.finish(backbone.states(pixels, [-1])[0]), backbone.pooled(pixels))


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_the_parts_in_order_are_the_whole(make_backbone, kind):
    backbone = make_backbone(kind)
    parts, pixels = anatomy(backbone), pixels_for(backbone)
    assert torch.equal(parts.run(pixels), backbone.states(pixels, [-1])[0])
    assert len(parts.sublayers) == 2 * backbone.depth
    assert parts.embed(pixels).shape == (4, parts.tokens, parts.width)
    for sublayer in parts.sublayers:
        for name in sublayer.linears.values():
            assert isinstance(backbone.get_submodule(name), torch.nn.Linear)


@pytest.mark.parametrize("kind", ["resnet", "efficientnet"])
def test_a_cnn_is_refused_with_what_works(make_backbone, kind):
    with pytest.raises(InputError, match="not a vision transformer.*losa"):
        anatomy(make_backbone(kind))


def test_a_sharing_copy_may_change_while_the_original_stays(make_backbone):
    backbone = make_backbone("clip")
    pixels = pixels_for(backbone)
    before, twin = backbone.pooled(pixels), sharing(backbone)
    assert {id(p) for p in twin.parameters()} == {id(p) for p in backbone.parameters()}
    part = anatomy(twin).sublayers[0]
    part.norm.register_forward_hook(lambda module, inputs, out: out + 1)
    assert not torch.equal(twin.pooled(pixels), before) and torch.equal(backbone.pooled(pixels), before)
