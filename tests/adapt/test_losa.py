"""LoSA: where it starts, what it trains, what it costs, what it takes."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
import torch
from safetensors.torch import load_file

from adapt.conftest import MAKERS, pixels_for
from adapt.test_mixers import kept_bytes
from whenwhere.adapt.adapted import answer_together
from whenwhere.adapt.linear import LinearProbe
from whenwhere.adapt.losa import Losa, LosaConfig
from whenwhere.adapt.mixers import LowRank, Mixer
from whenwhere.errors import InputError, WeightsError

LABEL = torch.tensor([0, 2, 1, 0])


def with_random_head(model):
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(3))
    return model


def step_once(model, pixels, lr=0.05):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    model.loss({"pixels": pixels, "label": LABEL})["loss"].backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    optimizer.step()
    optimizer.zero_grad()
    return gradients


@pytest.mark.parametrize("recurrence", ["accumulate", "parallel"])
@pytest.mark.parametrize("kind", MAKERS)
def test_it_starts_as_the_linear_probe_to_the_bit(make_backbone, kind, recurrence):
    backbone = make_backbone(kind)
    pixels = pixels_for(backbone)
    model = with_random_head(Losa(backbone, "abc", LosaConfig(recurrence=recurrence)))
    probe = with_random_head(LinearProbe(backbone, "abc"))
    states = model.frozen_states(pixels)
    assert torch.equal(model.refined(states), states[-1])
    assert torch.equal(model(pixels), probe(pixels))


@pytest.mark.parametrize("kind", MAKERS)
def test_the_backbone_is_outside_of_the_graph_and_stays_as_it_is(make_backbone, kind):
    torch.manual_seed(0)  # of the mixers, whatever ran before
    backbone = make_backbone(kind)

    def checksum():
        digest = hashlib.sha256()
        for tensor in backbone.state_dict().values():
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()

    model, pixels, before = with_random_head(Losa(backbone, "abc")), pixels_for(backbone), checksum()
    for state in model.frozen_states(pixels):
        assert state.grad_fn is None and not state.requires_grad and not state.is_inference()
    queue, reached = [model(pixels).grad_fn], set()
    while queue:
        node = queue.pop()
        if hasattr(node, "variable"):
            reached.add(id(node.variable))
        queue += [parent for parent, _ in node.next_functions if parent is not None]
    assert reached == {id(parameter) for parameter in model.parameters()}

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.train()
    first = None
    states = model.frozen_states(pixels)
    for step in range(100):
        batch = {"states": states} if step % 10 else {"pixels": pixels}
        loss = model.loss({**batch, "label": LABEL})["loss"]
        first = first or float(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert not held & {id(p) for p in backbone.parameters()}
    assert all(p.grad is None and not p.requires_grad for p in backbone.parameters())
    assert not any(module.training for module in backbone.modules())
    assert checksum() == before and float(loss.detach()) < 0.5 * first


def test_only_the_second_matrices_have_a_gradient_at_first_and_the_others_after_one_step(make_backbone):
    backbone = make_backbone("siglip")
    model, pixels = with_random_head(Losa(backbone, "abc")), pixels_for(backbone)
    for name, gradient in step_once(model, pixels).items():
        assert name.endswith("down") == (not gradient.any()), name
    assert all(gradient.any() for gradient in step_once(model, pixels).values())


def test_a_zero_head_lets_nothing_through_at_first(make_backbone):
    gradients = step_once(Losa(make_backbone("siglip"), "abc"), pixels_for(make_backbone("siglip")))
    assert not any(g.any() for name, g in gradients.items() if not name.startswith("head"))
    assert gradients["head.weight"].any()


TABLE = {  # of the method's description: (channels, tokens, taps) -> trained numbers for ranks 1, 4, 8, 16
    "B/16": (768, 197, 12, (23_160, 92_640, 185_280, 370_560)),
    "L/16": (1024, 197, 24, (58_608, 234_432, 468_864, 937_728)),
    "g/14": (1408, 257, 40, (133_200, 532_800, 1_065_600, 2_131_200)),
    "e/14": (1792, 257, 56, (229_488, 917_952, 1_835_904, 3_671_808)),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table_of_trained_numbers(name):
    d, n, taps, counts = TABLE[name]
    for rank, count in zip((1, 4, 8, 16), counts):
        mixer = Mixer([LowRank("channels", d, rank), LowRank("tokens", n, rank)])
        assert taps * sum(p.numel() for p in mixer.parameters()) == count


@pytest.mark.parametrize("kind", MAKERS)
def test_trained_numbers_follow_the_formula(make_backbone, kind):
    backbone = make_backbone(kind)
    last = backbone.states(pixels_for(backbone, 1), [-1])[0]
    n, d = last.shape[1:]
    for taps, count, rank, token_rank in ((None, backbone.depth, 1, None), ((-1,), 1, 8, None), ((0, 2), 2, 4, 2)):
        r_t = token_rank or rank
        config = LosaConfig(rank=rank, token_rank=token_rank, taps=taps)
        head = 5 * backbone.width + 5
        expected = {"adapter": count * (2 * d * rank + 2 * n * r_t), "head": head}
        assert Losa(backbone, "abcde", config).counts() == expected
        video = Losa(backbone, "abcde", LosaConfig(rank=rank, taps=taps, frames=6)).counts()
        assert video["adapter"] == count * 2 * rank * (d + n + 6)
        joint = Losa(backbone, "abcde", LosaConfig(rank=rank, taps=taps, frames=6, tokens="joint")).counts()
        assert joint["adapter"] == count * 2 * rank * (d + n * 6)


def test_switches_leave_out_what_they_say(make_backbone):
    backbone = make_backbone("clip")

    def axes(**settings):
        return [[step.axis for step in mixer.steps] for mixer in Losa(backbone, "ab", LosaConfig(**settings)).mixers]

    assert axes() == [["channels", "tokens"]] * 3
    assert axes(channels=False) == [["tokens"]] * 3
    assert axes(tokens="none", taps=(1,)) == [["channels"]]
    assert axes(frames=2, taps=(0, -1)) == [["channels", "tokens", "time"]] * 2
    assert axes(frames=2, tokens="joint", channels=False, taps=(0,)) == [["joint"]]


@pytest.mark.parametrize("frames", [None, 4])
@pytest.mark.parametrize("recurrence", ["accumulate", "parallel", "ladder"])
@pytest.mark.parametrize("taps", [None, (0, 1)])
@pytest.mark.parametrize("kind", ["vit with class token", "siglip", "resnet"])
def test_every_recurrence_learns_the_same_with_and_without_recomputing(make_backbone, kind, recurrence, taps, frames):
    backbone = make_backbone(kind)
    pixels, gradients = pixels_for(backbone, 4 * (frames or 1)), []
    pixels = pixels.unflatten(0, (4, frames)) if frames else pixels
    for lean in (True, False):
        torch.manual_seed(0)
        config = LosaConfig(
            rank=2, recurrence=recurrence, init="normal", scale=0.1, recompute=lean, taps=taps, frames=frames
        )
        gradients.append(step_once(with_random_head(Losa(backbone, "abc", config)), pixels, lr=0.0))
    for name, gradient in gradients[0].items():
        assert gradient.any(), name
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-4, rtol=1e-3)


def test_the_ladder_is_a_gated_mean_with_temperature(make_backbone):
    backbone = make_backbone("clip")
    model = Losa(backbone, "ab", LosaConfig(recurrence="ladder"))
    assert model.counts()["adapter"] == Losa(backbone, "ab").counts()["adapter"] + 2
    y = model.frozen_states(pixels_for(backbone))
    with torch.no_grad():
        model.gates.copy_(torch.tensor([0.0, 0.1]))  # sigmoid(0) = 0.5, sigmoid(1) = 0.731059
    expected = 0.731059 * (0.5 * y[0] + 0.5 * y[1]) + 0.268941 * y[2]  # fresh mixers are the identity
    torch.testing.assert_close(model.refined(y), expected, atol=1e-5, rtol=1e-5)


def test_accumulating_hands_corrections_on_and_parallel_does_not(make_backbone):
    backbone, found = make_backbone("clip"), []
    for recurrence in ("accumulate", "parallel"):
        torch.manual_seed(1)
        model = Losa(backbone, "ab", LosaConfig(recurrence=recurrence, init="normal", rank=2))
        y = model.frozen_states(pixels_for(backbone))
        a = torch.zeros_like(y[0])
        for state, mixer in zip(y, model.mixers):
            u = state + a if recurrence == "accumulate" else state
            a = a + mixer(u) - u
        found.append(model.refined(y))
        torch.testing.assert_close(found[-1], y[-1] + a, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(*found)


def test_without_the_last_layer_tapped_the_correction_is_added_to_it_all_the_same(make_backbone):
    backbone = make_backbone("clip")
    model = Losa(backbone, "ab", LosaConfig(taps=(-2,), init="normal"))
    assert model.taps == (1, 2) and len(model.mixers) == 1
    middle, last = model.frozen_states(pixels_for(backbone))
    torch.testing.assert_close(model.refined([middle, last]), last + model.mixers[0](middle) - middle)


def test_what_is_kept_grows_with_the_taps_and_one_tap_costs_hardly_more_than_the_probe(make_backbone):
    backbone = make_backbone("vit with class token")
    pixels = pixels_for(backbone, 16)
    map_bytes = 16 * 17 * 32 * 4
    probe, _ = kept_bytes(lambda: LinearProbe(backbone, "ab")(pixels))
    kept = [
        kept_bytes(lambda taps=taps: Losa(backbone, "ab", LosaConfig(rank=1, taps=taps))(pixels))[0]
        for taps in ((2,), (1, 2), (0, 1, 2))
    ]
    thin = 16 * (17 + 32 + 2 * 2 * 17) * 4
    assert [later - first for first, later in zip(kept, kept[1:])] == [map_bytes + thin] * 2
    assert kept[0] <= 1.1 * (probe + map_bytes + thin)
    deeper, _ = kept_bytes(lambda: Losa(backbone, "ab", LosaConfig(rank=1, taps=(0, 2)))(pixels))
    assert deeper == kept[1]  # which layers, and how deep the backbone is below them, does not matter


def test_a_clip_keeps_one_map_a_tap_like_its_frames_alone(make_backbone):
    backbone = make_backbone("vit with class token")
    frames = pixels_for(backbone, 16)
    config = LosaConfig(rank=1, taps=(0, 1, 2))
    images, _ = kept_bytes(lambda: Losa(backbone, "ab", config)(frames))
    clip_config = dataclasses.replace(config, frames=16)
    clip, _ = kept_bytes(lambda: Losa(backbone, "ab", clip_config)(frames.unflatten(0, (1, 16))))
    one, norms = 17 * 32 * 4, 2 * 16 * 17 * 4  # the step over time of the last tap; means and deviations of each
    assert clip <= images + one + 3 * norms


def test_states_that_require_a_gradient_get_one_or_are_refused(make_backbone):
    backbone = make_backbone("clip")
    pixels = pixels_for(backbone)
    lean = with_random_head(Losa(backbone, "ab", LosaConfig(init="normal")))
    with pytest.raises(InputError, match="require a gradient.*recompute=False"):
        lean.logits_of([state.requires_grad_() for state in lean.frozen_states(pixels)])
    with torch.no_grad():
        lean.logits_of([state.requires_grad_() for state in lean.frozen_states(pixels)])
    plain = with_random_head(Losa(backbone, "ab", LosaConfig(init="normal", recompute=False)))
    states = [state.requires_grad_() for state in plain.frozen_states(pixels)]
    plain.logits_of(states).sum().backward()
    assert all(state.grad is not None and state.grad.any() for state in states)


@pytest.mark.parametrize("kind", ["vit with class token", "vit with mean pooling", "siglip", "resnet"])
def test_clips_train_and_see_the_order_of_their_frames(make_backbone, kind):
    backbone = make_backbone(kind)
    clips = pixels_for(backbone, 8).unflatten(0, (4, 2))
    torch.manual_seed(0)
    model = with_random_head(Losa(backbone, "abc", LosaConfig(frames=2)))
    still = with_random_head(LinearProbe(backbone, "abc"))
    torch.testing.assert_close(model(clips), still(clips))
    for _ in range(2):
        gradients = step_once(model, clips)
    assert all(g.any() for g in gradients.values())
    assert not torch.allclose(model(clips), model(clips.flip(1)), atol=1e-5)
    torch.testing.assert_close(still(clips), still(clips.flip(1)))


@pytest.mark.parametrize("frames", [None, 2])
def test_a_saved_adapter_holds_the_side_network_and_head_alone_and_answers_the_same(make_backbone, tmp_path, frames):
    backbone = make_backbone("dinov2")
    pixels = pixels_for(backbone) if frames is None else pixels_for(backbone, 8).unflatten(0, (4, 2))
    model = with_random_head(Losa(backbone, ["yes", "no", "both"], LosaConfig(taps=(0, -1), frames=frames, rank=3)))
    step_once(model, pixels)
    folder = model.save(tmp_path / "adapter")
    numbers = sum(model.counts().values())
    tensors = load_file(folder / "model.safetensors")
    assert sum(t.numel() for t in tensors.values()) == numbers
    assert 4 * numbers <= (folder / "model.safetensors").stat().st_size <= 4 * numbers + 4096
    again = Losa.load(folder, make_backbone("dinov2"))
    assert torch.equal(again(pixels), model(pixels)) and again.labels == model.labels and again.config == model.config
    assert torch.equal(Losa.load(folder)(pixels), model(pixels))  # the backbone it names
    with pytest.raises(WeightsError, match="was trained on"):
        Losa.load(folder, make_backbone("clip"))


def test_one_pass_of_the_backbone_answers_for_several_adapters(make_backbone):
    backbone = make_backbone("clip")
    pixels = pixels_for(backbone)
    models = [with_random_head(Losa(backbone, "abc", LosaConfig(taps=taps))) for taps in ((0,), (1, 2), None)]
    models.append(with_random_head(LinearProbe(backbone, "xy")))
    for model, logits in zip(models, answer_together(models, pixels)):
        assert torch.equal(logits, model(pixels))


@pytest.mark.parametrize("kind", ["vit with class token", "clip", "siglip", "resnet", "efficientnet"])
def test_a_backbone_in_bfloat16_keeps_its_side_network_in_float32(make_backbone, kind):
    backbone = make_backbone(kind).bfloat16()
    model = with_random_head(Losa(backbone, "abc"))
    states = model.frozen_states(pixels_for(backbone))
    assert {s.dtype for s in states} == {torch.bfloat16}
    assert torch.equal(model.refined(states), states[-1].float())
    for _ in range(2):
        gradients = step_once(model, pixels_for(backbone))
    assert all(g.dtype == torch.float32 and g.isfinite().all() and g.any() for g in gradients.values())


def test_under_autocast_the_side_network_computes_as_without(make_backbone):
    backbone = make_backbone("clip")
    model = with_random_head(Losa(backbone, "abc", LosaConfig(init="normal")))
    states = model.frozen_states(pixels_for(backbone))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.refined(states), model.refined([s.clone() for s in states]))
        under = model.refined(states)
    assert under.dtype == torch.float32 and torch.equal(under, model.refined(states))


def test_stages_of_a_cnn_are_averaged_to_the_last_grid_and_filled_up(make_backbone):
    backbone = make_backbone("resnet")
    model = Losa(backbone, "ab", LosaConfig(taps=(2,)))
    stage, last = model.frozen_states(pixels_for(backbone))
    assert stage.shape == (4, 64, 128) and last.shape == (4, 4, 512)
    fitted = model._fitted(stage)
    corner = stage.unflatten(1, (8, 8))[:, :4, 4:].mean((1, 2))  # the upper right quarter is the second token
    torch.testing.assert_close(fitted[:, 1, :128], corner)
    assert fitted.shape == last.shape and not fitted[..., 128:].any()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rank": 0}, "rank=0.*at least 1"),
        ({"token_rank": 0}, "token_rank=0"),
        ({"frames": 0}, "frames=0"),
        ({"taps": ()}, "at least one layer"),
        ({"recurrence": "loop"}, "recurrence='loop'.*accumulate, ladder, parallel"),
        ({"tokens": "some"}, "tokens='some'.*joint"),
        ({"init": "ones"}, "init='ones'.*zero, normal"),
        ({"channels": False, "tokens": "none"}, "something to mix"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        LosaConfig(**settings)


def test_taps_and_inputs_that_do_not_fit_are_refused(make_backbone):
    backbone = make_backbone("clip")
    with pytest.raises(InputError, match=r"taps \[3, -4\].*expected layers 0 to 2, or -3 to -1 from the end"):
        Losa(backbone, "ab", LosaConfig(taps=(0, 3, -4)))
    pixels, images = pixels_for(backbone), Losa(backbone, "ab")
    with pytest.raises(InputError, match=r"clips of 2 frames.*images"):
        images(pixels.unflatten(0, (2, 2)))
    clips = Losa(backbone, "ab", LosaConfig(frames=4))
    with pytest.raises(InputError, match=r"images.*clips of 4 frames"):
        clips(pixels)
    with pytest.raises(InputError, match="clips of 2 frames.*clips of 4 frames"):
        clips(pixels.unflatten(0, (2, 2)))
    with pytest.raises(InputError, match="9 tokens and 32 channels.*17 tokens.*32 pixels"):
        images.vector_of([torch.zeros(2, 9, 32)] * 3)
    assert Losa(backbone, "ab", LosaConfig(taps=(-1, 2, 0, -3))).taps == (0, 2)


def test_a_map_of_another_size_is_refused_on_a_cnn_too(make_backbone):
    backbone = make_backbone("resnet")
    with pytest.raises(InputError, match="9 tokens and 512 channels.*4 tokens and 512.*64 pixels"):
        Losa(backbone, "ab")(torch.zeros(1, 3, 96, 96))
