"""The bank of text features between images and the decoder."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from whenwhere.backbones.space import Bridge, BridgeConfig, BridgeMaps
from whenwhere.errors import InputError
from whenwhere.layers.text_bank import BankConfig, Banked, TextBank, sideways


@pytest.fixture
def space():
    torch.manual_seed(0)
    maps = BridgeMaps(
        torch.randn(16, 12), torch.randn(20, 12), torch.randn(16) * 0.1, torch.randn(20) * 0.1, torch.randn(8, 16)
    )
    return Bridge(BridgeConfig(), maps)


@pytest.fixture
def bank(space):
    return TextBank(F.normalize(torch.randn(40, 16), dim=-1), space)


def test_a_row_is_most_similar_to_itself(bank):
    scores = bank.similarities(bank.keys)
    assert torch.equal(scores.argmax(1), torch.arange(40))
    torch.testing.assert_close(scores.mean(1), torch.zeros(40), atol=1e-5, rtol=0)
    torch.testing.assert_close(scores.std(1), torch.ones(40))


def test_a_cold_mean_is_the_nearest_row_and_a_hot_one_is_not(bank):
    scores = bank.similarities(bank.keys)
    torch.testing.assert_close(bank.mean(scores, 1e-3), bank.values)
    assert (bank.mean(scores, 10.0) * bank.values).sum(1).mean() < 0.9


def test_excluded_rows_are_not_seen(bank):
    own = torch.arange(40)
    own[7] = -1  # this one may see itself
    nearest = bank.similarities(bank.keys, own).argmax(1)
    assert nearest[7] == 7
    assert (nearest != torch.arange(40)).sum() == 39


def test_tokens_say_what_they_are(bank):
    config = BankConfig(temperatures=(0.3, 0.9), nearest=3)
    tokens = bank.describe(bank.keys[:5], config)
    assert tokens.shape == (5, 5, bank.described_width(config)) == (5, 5, 16 + 4)
    assert torch.equal(tokens[0, :, 16:19], torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]]))
    assert torch.equal(tokens[:, 2, :16], bank.values[:5])  # the nearest row of a row is itself
    near = tokens[:, 2:, -1]
    assert (near[:, :-1] >= near[:, 1:]).all()


def test_blend_puts_the_means_side_by_side(bank):
    scores = bank.similarities(bank.keys[:3])
    both = bank.blend(bank.keys[:3], (0.2, 0.7))
    assert torch.equal(both, torch.cat([bank.mean(scores, 0.2), bank.mean(scores, 0.7)], 1))


def test_groups_become_their_mean(space):
    features = F.normalize(torch.randn(6, 16), dim=-1)
    grouped = TextBank.from_groups(features, torch.tensor([0, 0, 1, 1, 1, 2]), space)
    assert len(grouped) == 3
    torch.testing.assert_close(grouped.features[1], F.normalize(features[2:5].sum(0), dim=0))


def test_sideways_moves_have_the_length_asked():
    start = F.normalize(torch.randn(2000, 384), dim=-1)
    generator = torch.Generator().manual_seed(0)
    moved = sideways(start, torch.tensor(2.0), generator)
    torch.testing.assert_close(moved.norm(dim=-1), torch.ones(2000))
    # cos = 1 / sqrt(1 + 2^2) for noise at right angles
    assert (moved * start).sum(-1).mean().item() == pytest.approx(5**-0.5, abs=0.01)
    assert torch.equal(moved, sideways(start, torch.tensor(2.0), torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("bad", [{"temperatures": ()}, {"temperatures": (0.0,)}, {"nearest": -1}])
def test_bad_configurations_are_refused(bad):
    with pytest.raises(InputError):
        BankConfig(**bad)


def test_a_banked_system_keeps_its_space_and_bank_out_of_its_weights(space):
    features = torch.randn(40, 16)
    system = Banked("bridge", (40, 16), space, features)
    assert system.bank is system.bank and system.space is space
    assert torch.equal(system.bank.keys, TextBank(features, space).keys)
    assert list(system.state_dict()) == ["bank_features"] and not list(system.parameters())
    with pytest.raises(InputError, match=r"\(40, 16\).*\(41, 16\)"):
        Banked("bridge", (41, 16), space, features)


def test_a_banked_system_loads_its_space_only_when_asked():
    system = Banked("no such space", (4, 16), None, None)
    assert torch.equal(system.bank_features, torch.zeros(4, 16))
    with pytest.raises(InputError, match="no such space"):
        system.space  # noqa: B018
