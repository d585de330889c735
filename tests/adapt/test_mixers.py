"""Low-rank mixers, and the memory-lean chain of them against plain autograd."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.adapt import mixers
from whenwhere.adapt.mixers import LowRank, Mixer
from whenwhere.adapt.refinement import refine

N, D, T = 7, 12, 3


def random_mixer(*axes, rank=2, scale=0.7, dtype=torch.float64):
    sizes = {"channels": D, "tokens": N, "time": T, "joint": T * N}
    return Mixer([LowRank(axis, sizes[axis], rank, zero=False) for axis in axes], scale).to(dtype)


def norm(x):
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_a_channel_step_worked_by_hand():
    # One token (3, 1): mean 2, deviation 1, so it is (1, -1) when normalised. Down to 1 * 2 - 1 * -1 = 3, GELU(3) =
    # 3 * Phi(3) = 2.99595, up by (1, 10) and scaled by 0.5.
    step = LowRank("channels", 2, 1)
    with torch.no_grad():
        step.down.copy_(torch.tensor([[2.0], [-1.0]]))
        step.up.copy_(torch.tensor([[1.0, 10.0]]))
    expected = torch.tensor([[[3 + 0.5 * 2.99595, 1 + 5 * 2.99595]]])
    torch.testing.assert_close(step(torch.tensor([[[3.0, 1.0]]]), 0.5), expected, atol=1e-4, rtol=0)


def test_the_image_mixer_is_the_two_formulas_of_its_description():
    mixer, u = random_mixer("channels", "tokens"), torch.randn(2, N, D, dtype=torch.float64)
    (ac, bc), (at, bt) = [(step.down, step.up) for step in mixer.steps]
    h = u + 0.7 * F.gelu(norm(u) @ ac) @ bc
    t = norm(h).transpose(1, 2)
    torch.testing.assert_close(mixer(u), h + 0.7 * (F.gelu(t @ at) @ bt).transpose(1, 2))


def test_the_video_mixer_is_the_three_formulas_of_its_description():
    mixer, u = random_mixer("channels", "tokens", "time"), torch.randn(2, T, N, D, dtype=torch.float64)
    (ac, bc), (a_s, b_s), (at, bt) = [(step.down, step.up) for step in mixer.steps]
    h1 = u + 0.7 * F.gelu(norm(u) @ ac) @ bc
    h2 = h1 + 0.7 * torch.einsum("btrd,rm->btmd", F.gelu(torch.einsum("btmd,mr->btrd", norm(h1), a_s)), b_s)
    f = h2 + 0.7 * torch.einsum("brmd,rt->btmd", F.gelu(torch.einsum("btmd,tr->brmd", norm(h2), at)), bt)
    torch.testing.assert_close(mixer(u), f)


def test_channels_do_not_see_the_order_of_tokens_nor_tokens_that_of_channels():
    u, tokens, channels = torch.randn(2, N, D, dtype=torch.float64), torch.randperm(N), torch.randperm(D)
    by_channels, by_tokens = random_mixer("channels"), random_mixer("tokens")
    torch.testing.assert_close(by_channels(u[:, tokens]), by_channels(u)[:, tokens])
    torch.testing.assert_close(by_tokens(u[..., channels]), by_tokens(u)[..., channels])
    # and each of them does see its own
    assert not torch.allclose(by_channels(u[..., channels]), by_channels(u)[..., channels])
    assert not torch.allclose(by_tokens(u[:, tokens]), by_tokens(u)[:, tokens])


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_what_a_step_adds_has_its_rank(rank, monkeypatch):
    u = torch.randn(1, N, D, dtype=torch.float64)
    for axis in ("channels", "tokens"):
        added = (random_mixer(axis, rank=rank)(u) - u)[0]
        assert torch.linalg.matrix_rank(added) == rank
    # without the activation, each half is one matrix down @ up on the normalised input
    monkeypatch.setattr(mixers.F, "gelu", lambda x: x)
    for axis in ("channels", "tokens"):
        mixer = random_mixer(axis, rank=rank)
        added = (mixer(u) - u)[0]
        matrix = mixer.steps[0].down @ mixer.steps[0].up
        assert (torch.linalg.svdvals(matrix) > 1e-9).sum() == rank
        n = norm(u)[0]
        torch.testing.assert_close(added, 0.7 * (n @ matrix if axis == "channels" else matrix.T @ n))


def test_one_frame_without_time_mixing_is_an_image():
    video, image = random_mixer("channels", "tokens"), random_mixer("channels", "tokens")
    video.steps.append(LowRank("time", 1, 2).double())  # its second matrix is zero
    image.load_state_dict({k: v for k, v in video.state_dict().items() if not k.startswith("steps.2")})
    u = torch.randn(2, N, D, dtype=torch.float64)
    assert torch.equal(video(u[:, None])[:, 0], image(u))


CHAINS = [("channels",), ("tokens",), ("channels", "tokens"), ("channels", "tokens", "time"), ("channels", "joint")]


@pytest.mark.parametrize("chained", [True, False], ids=["chained", "apart"])
@pytest.mark.parametrize("axes", CHAINS, ids="+".join)
@pytest.mark.parametrize("corrects", ["its last", "another"])
def test_the_lean_chain_has_the_values_and_gradients_of_plain_autograd(axes, chained, corrects):
    shape = (2, T, N, D) if {"time", "joint"} & set(axes) else (2, N, D)
    states = [3 * torch.randn(shape, dtype=torch.float64) for _ in range(3)]
    last = states[-1] if corrects == "its last" else torch.randn(shape, dtype=torch.float64)
    chain, weight = [random_mixer(*axes) for _ in states], torch.randn(shape, dtype=torch.float64)
    parameters, found = [p for mixer in chain for p in mixer.parameters()], []
    for lean in (True, False):
        out = refine(states, last, chain, chained=chained, lean=lean)
        found.append([out.detach(), *torch.autograd.grad(out, parameters, weight)])
    for lean, plain in zip(*found):
        torch.testing.assert_close(lean, plain, atol=1e-11, rtol=1e-9)
        assert plain.abs().max() > 1e-3


@given(offset=st.floats(-300, 300), spread=st.floats(0.01, 100), depth=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_gradients_in_float32_stay_close_whatever_the_states_look_like(offset, spread, depth):
    generator = torch.Generator().manual_seed(depth)
    states = [offset * spread + spread * torch.randn(2, N, D, generator=generator) for _ in range(depth)]
    chain = [random_mixer("channels", "tokens", dtype=torch.float32) for _ in states]
    parameters, found = [p for mixer in chain for p in mixer.parameters()], []
    for lean in (True, False):
        out = refine(states, states[-1], chain, chained=True, lean=lean)
        found.append(torch.autograd.grad(out.square().mean(), parameters))
    for lean, plain in zip(*found):
        assert (lean - plain).norm() <= 2e-3 * plain.norm() + 1e-6


def kept_bytes(run):
    """Bytes of the storages that autograd keeps, weights not counted; ``run`` gives a value to hold meanwhile."""
    kept = {}

    def pack(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = run()
    return sum(kept.values()), value


@pytest.mark.parametrize("count", [1, 4, 8])
def test_one_map_a_mixer_is_kept_for_the_backward_pass(count):
    n, d, rank = 50, 64, 2
    states = [torch.randn(8, n, d) for _ in range(count)]
    chain = [Mixer([LowRank("channels", d, rank), LowRank("tokens", n, rank)]) for _ in states]
    mapped, thin = 8 * n * d * 4, 8 * (rank * (n + d) + 2 * 2 * n) * 4  # thin: inputs of GELUs, means and deviations
    lean, _ = kept_bytes(lambda: refine(states, states[-1], chain, chained=True, lean=True))
    plain, _ = kept_bytes(lambda: refine(states, states[-1], chain, chained=True, lean=False))
    assert lean == count * (mapped + thin)
    assert plain > 2.5 * lean
