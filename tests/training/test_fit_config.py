"""FitConfig refuses contradictions by field name; schedules and optimizer groups are pure functions of it."""

import math

import pytest
from torch import nn
from training_runs import Toy

from whenwhere.errors import InputError
from whenwhere.training import FitConfig
from whenwhere.training.schedule import lr_at, parameter_groups

GOOD = {"steps": 100, "batch": 8, "lr": 1e-3}


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("steps", {"steps": 0}),
        ("batch", {"batch": 0}),
        ("lr", {"lr": 0.0}),
        ("lr", {"lr": math.nan}),
        ("lr", {"lr": math.inf}),
        ("warmup", {"warmup": 100}),
        ("warmup", {"warmup": -1}),
        ("schedule", {"schedule": "linear"}),
        ("drops", {"schedule": "step"}),
        ("drops", {"schedule": "step", "drops": (60, 40)}),
        ("drops", {"schedule": "step", "drops": (101,)}),
        ("drops", {"schedule": "cosine", "drops": (50,)}),
        ("weight_decay", {"weight_decay": -0.1}),
        ("betas", {"betas": (0.9, 1.0)}),
        ("grad_clip", {"grad_clip": -1.0}),
        ("precision", {"precision": "16-mixed"}),
        ("seed", {"seed": -1}),
        ("accumulate", {"accumulate": 3}),
        ("accumulate", {"accumulate": 0}),
        ("ema", {"ema": 1.0}),
        ("log_every", {"log_every": 0}),
        ("checkpoint_every", {"checkpoint_every": -1}),
        ("keep", {"keep": 0}),
        ("evaluate_every", {"evaluate_every": -1}),
        ("best", {"best": "cider"}),
        ("best_mode", {"best_mode": "most"}),
        ("device", {"device": "tpu"}),
    ],
)
def test_a_contradiction_is_refused_by_field_name(field, wrong):
    with pytest.raises(InputError, match=rf"^{field}=.*expected.*{field} of FitConfig"):
        FitConfig(**{**GOOD, **wrong})


def test_warmup_rises_linearly_to_the_peak_and_never_starts_at_zero():
    config = FitConfig(**GOOD, warmup=10)
    rates = [lr_at(step, config) for step in range(12)]
    assert rates[:3] == pytest.approx([1e-4, 2e-4, 3e-4])
    assert rates[9:] == pytest.approx([1e-3] * 3)


def test_cosine_goes_from_the_peak_through_half_to_nearly_zero():
    config = FitConfig(**{**GOOD, "steps": 110}, warmup=10, schedule="cosine")
    assert lr_at(10, config) == pytest.approx(1e-3)
    assert lr_at(60, config) == pytest.approx(0.5e-3)
    assert 0 < lr_at(109, config) < 1e-6


def test_step_multiplies_by_a_tenth_at_each_drop():
    config = FitConfig(**GOOD, schedule="step", drops=(40, 80))
    assert [lr_at(step, config) for step in (39, 40, 79, 80)] == pytest.approx([1e-3, 1e-4, 1e-4, 1e-5])


def test_vectors_do_not_decay_and_tied_and_frozen_weights_are_taken_once_and_never():
    groups = parameter_groups(Toy(), weight_decay=0.1, lr_scale=lambda name: 0.5 if name.startswith("embed") else 1.0)
    place = {name: (group["weight_decay"], group["scale"]) for group in groups for name, _ in group["params"]}
    assert place == {
        "embed.weight": (0.1, 0.5),
        "embed.bias": (0.0, 0.5),
        "norm.weight": (0.0, 1.0),
        "norm.bias": (0.0, 1.0),
        "hidden.weight": (0.1, 1.0),
        "hidden.bias": (0.0, 1.0),
        "head.weight": (0.1, 1.0),
        "head.bias": (0.0, 1.0),
        "twin.bias": (0.0, 1.0),
        "full": (0.0, 1.0),
    }


def test_nothing_to_train_and_a_negative_scale_are_refused():
    with pytest.raises(InputError, match="without a trainable weight"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), weight_decay=0.0)
    with pytest.raises(InputError, match="lr_scale"):
        parameter_groups(nn.Linear(2, 2), weight_decay=0.0, lr_scale=lambda name: -1.0)
