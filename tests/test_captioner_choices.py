"""The comparison of the captioner's choices: its arithmetic, what it runs next, and its language model decoder."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("peft", reason="the language model arm is adapted with peft")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reproductions"))

import captioner_choices as choices
from _language_model_decoder import LanguageDecoder


def entry(*ciders: float, shift: float = 0.0) -> dict:
    """Results of an arm with one seed for each value."""
    seeds = {}
    for seed, value in enumerate(ciders):
        one = {"cider": value, "items": [value + shift] * 4, "said": []}
        seeds[str(seed)] = {"core_seconds": 200, "trained_weights": 6_000_000, "val": one, "train": one}
    return {"arm": {}, "seeds": seeds}


def test_the_difference_is_paired_by_image():
    reference = np.array([0.0, 1.0, 2.0, 3.0])
    assert choices.difference(reference + 0.5, reference) == (0.5, 0.5, 0.5)
    mean, low, high = choices.difference(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert (mean, low, high) == (0.0, -1.0, 1.0)


def test_arms_run_once_in_order_then_the_best_and_the_reference_again():
    names = ["reference", "noise 0", "noise half", "noise double", "SmolLM2-135M with LoRA"]
    results: dict = {"arms": {"reference": entry(0.3)}}
    assert choices.jobs(results, names, 3) == [(name, 0) for name in names[1:]]
    for name, value in zip(names[1:], (0.1, 0.5, 0.4, 0.9)):
        results["arms"][name] = entry(value)
    left = choices.jobs(results, names, 3)
    assert left == [(name, seed) for name in ("noise half", "noise double", "reference") for seed in (1, 2)]
    assert choices.jobs(results, names, 1) == []
    results["arms"]["noise half"] = entry(0.5, 0.5)
    assert choices.jobs(results, names, 3) == [("noise half", 2), *left[2:]]


def test_the_table_compares_arms_of_the_same_budget():
    names = ("reference", "noise 0", "SmolLM2-135M with LoRA", "reference, core time of SmolLM2")
    ciders = ((0.3, 0.5), (0.2,), (0.9,), (1.0,))
    results = {"arms": {name: entry(*values) for name, values in zip(names, ciders)}}
    rows = choices.table(results).splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == list(names)
    assert "| 0.400 ± 0.141 (2 seeds) | 0.400 ± 0.141 (2 seeds) | - |" in rows[0]
    assert "| 0.200 | 0.200 | -0.100 (-0.100 to -0.100) |" in rows[1]
    assert rows[2].split(" | ")[4] == "-"
    assert "+0.100 (+0.100 to +0.100)" in rows[3]


def test_every_arm_differs_from_the_reference_in_one_choice():
    reference = choices.plain_arm(choices.ARMS["reference"])
    for name, arm in choices.ARMS.items():
        plain = choices.plain_arm(arm)
        changed = {key for key in plain if plain[key] != reference[key]} - {"group"}
        expected = {"neither centred": 2, "SmolLM2-135M with LoRA": 2, "reference": 0}.get(name, 1)
        assert len(changed) == expected, (name, changed)


@pytest.fixture
def decoder():
    import transformers

    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=20, **small))
    decoder = LanguageDecoder(model, visual_width=8, rank=4)
    for weight in decoder.lora:  # half of them begin at zero
        torch.nn.init.normal_(weight, std=0.1)
    return decoder.eval()


def test_word_by_word_is_the_same_as_all_at_once(decoder):
    context = decoder.encode(torch.randn(3, 5, 8))
    text = torch.randint(0, 20, (3, 2, 4))  # two texts for each of three contexts
    text[:, :, 0] = 1
    whole = [decoder.logits(decoder.decode(context, text[:, g])).log_softmax(-1) for g in range(2)]
    stepper = decoder.stepper(context)
    steps = [stepper.step(text[:, :1, 0]).expand(-1, 2, -1)]
    stepper.reorder(torch.zeros(3, 2, dtype=torch.int64))
    order = torch.tensor([[0, 1], [1, 0], [1, 0]])
    for i in range(1, 4):
        steps.append(stepper.step(text[..., i]))
        stepper.reorder(order)  # swap the texts of two contexts, and swap the words with them
        text = text.gather(1, order[..., None].expand(-1, -1, 4))
        steps = [step.gather(1, order[..., None].expand(-1, -1, 20)) for step in steps]
    for g in range(2):
        expected = torch.stack(whole, 1).gather(1, order[:, g].view(3, 1, 1, 1).expand(-1, 1, 4, 20))[:, 0]
        torch.testing.assert_close(torch.stack(steps, 2)[:, g], expected, atol=1e-5, rtol=1e-4)


def test_only_the_updates_and_the_projection_are_trained_and_they_learn(decoder):
    frozen = {name: weight.clone() for name, weight in decoder.model.named_parameters() if not weight.requires_grad}
    held = {id(weight) for weight in decoder.parameters()}
    assert held.isdisjoint(id(weight) for weight in decoder.model.parameters() if not weight.requires_grad)
    assert len(decoder.lora) == 2 * 4 * 2  # layers, matrices, two factors each
    visual, text = torch.randn(4, 3, 8), torch.randint(2, 20, (4, 5))
    optimizer = torch.optim.Adam(decoder.parameters(), 1e-2)
    losses = []
    for _ in range(100):
        rows = decoder.decode(decoder.encode(visual), text[:, :-1])
        loss = torch.nn.functional.cross_entropy(decoder.logits(rows).flatten(0, 1), text[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.3  # the random, frozen output weights allow no more than small logits
    for name, weight in decoder.model.named_parameters():
        assert weight.requires_grad or torch.equal(weight, frozen[name])
