"""The video form of nested experts: folded frames, routing of each, a temporal part that no budget touches."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from whenwhere.adapt.nested import NestedConfig, NestedViT
from whenwhere.adapt.nested_encoder import NestedBlocksConfig
from whenwhere.adapt.nested_video import NestedVideoConfig, NestedViViT
from whenwhere.errors import InputError

IMAGE = NestedConfig(16, 4, 3, 5, NestedBlocksConfig(32, 2, 4, 64), budgets=(0.3,))


def image_model() -> NestedViT:
    torch.manual_seed(0)
    made = NestedViT(IMAGE).eval()
    for parameter in made.parameters():
        if parameter.ndim:
            nn.init.normal_(parameter, std=0.2)
    return made


def clips(frames: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, frames, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("tubelet", "central"), [(1, 0), (2, 1), (3, 1)])
def test_one_tubelet_is_the_image_path_on_its_central_frame(tubelet, central):
    image = image_model()
    video = NestedViViT.from_image(image, 7, frames=tubelet, tubelet=tubelet, temporal_depth=1)
    x = clips(tubelet)
    with torch.no_grad():
        assert torch.allclose(video.frame_vectors(x, 0.4)[:, 0], image.pooled(x[:, central], 0.4), atol=1e-5)
        assert torch.equal(video.routing(x, 0.4)[0][:, 0], image.routing(x[:, central], 0.4)[0])
        assert video(x, 0.4).shape == (2, 7)


def test_tubelets_are_what_a_3d_convolution_sees():
    video = NestedViViT(NestedVideoConfig(IMAGE, frames=6, tubelet=2, temporal_depth=1))
    x = clips(6)
    weight = video.spatial.patch_embed["proj"].weight
    bias = video.spatial.patch_embed["proj"].bias
    kernel = weight.unflatten(1, (2, 3)).transpose(1, 2)  # (D, C, t, p, p)
    wanted = nn.functional.conv3d(x.transpose(1, 2), kernel, bias, stride=(2, 4, 4))  # (B, D, T', h, w)
    found = video.spatial.patch_embed["proj"](video._folded(x)).unflatten(0, (2, 3)).transpose(1, 2)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_permuted_frames_permute_the_routing():
    video = NestedViViT.from_image(image_model(), 5, frames=4, tubelet=1, temporal_depth=1)
    x, order = clips(4), [2, 0, 3, 1]
    with torch.no_grad():
        for one, other in zip(video.routing(x[:, order], 0.4), video.routing(x, 0.4)):
            assert torch.equal(one, other[:, order])
        assert not torch.allclose(video(x[:, order], 0.4), video(x, 0.4), atol=1e-4)  # time still matters
    experts = video.routing(x, 0.4)[0].flatten(2)
    counts = experts[0, 0].bincount().tolist()
    assert all(frame.bincount().tolist() == counts for clip in experts for frame in clip)  # capacity of each frame


def test_flops_of_vivit_and_that_the_temporal_part_costs_the_same_at_any_budget():
    for size, giga in ((224, 281.8), (256, 372.5)):
        classes = 400 if size == 224 else 174
        with torch.device("meta"):
            video = NestedViViT(NestedVideoConfig(NestedConfig(size=size, classes=classes)))
        assert video.flops() / 1e9 == pytest.approx(giga, rel=1e-3)
        assert video.flops(0.4) - 16 * video.spatial.flops(0.4) == video.flops() - 16 * video.spatial.flops()
    assert video.flops(0.4) / 1e9 == pytest.approx(162.8, rel=0.03)  # the row that the paper labels 0.3
    assert video.flops(0.3) / 1e9 == pytest.approx(130, rel=0.02)
    assert video.flops(video.budget_for(162.8e9)) <= 162.8e9


def test_a_step_trains_both_parts():
    video = NestedViViT(NestedVideoConfig(IMAGE, frames=4, tubelet=2, temporal_depth=1)).train()
    found = video.loss({"pixels": clips(4), "labels": torch.tensor([1, 4])})
    assert found["budget"].item() == pytest.approx(0.3)
    found["loss"].backward()
    assert video.spatial.patch_embed["proj"].weight.grad.abs().sum() > 0
    assert video.temporal[0].attn.qkv.weight.grad.abs().sum() > 0


def test_it_is_saved_and_loaded_whole(tmp_path):
    video = NestedViViT.from_image(image_model(), 5, frames=4, temporal_depth=2)
    video.save(tmp_path)
    again = NestedViViT.load(tmp_path)
    assert again.config == video.config
    with torch.no_grad():
        assert torch.equal(again(clips(4), 0.3), video(clips(4), 0.3))


@pytest.mark.parametrize("options", [{"frames": 3}, {"frames": 0}, {"temporal_depth": 0}])
def test_a_shape_that_contradicts_itself_is_refused(options):
    with pytest.raises(InputError):
        NestedVideoConfig(IMAGE, **options)


def test_clips_of_another_length_are_refused():
    video = NestedViViT(NestedVideoConfig(IMAGE, frames=4, temporal_depth=1))
    with pytest.raises(InputError, match=r"\(B, 4, 3, 16, 16\)"):
        video(clips(6))
