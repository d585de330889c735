"""The loop does what a plain loop would do, logs it, and refuses what it cannot do right."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from training_runs import Sentences, Toy, ToyConfig, toy_run

from whenwhere.errors import InputError
from whenwhere.training import Batches, FitConfig, TrainingError, fit, load_module
from whenwhere.training import checkpoint as ckpt

CONFIG = FitConfig(steps=12, batch=8, lr=3e-3, log_every=1, checkpoint_every=5, seed=3, device="cpu")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def logged(folder, name):
    return {line["step"]: line[name] for line in lines(folder) if name in line}


def weights(folder, name="model"):
    return ckpt.read_tensors(ckpt.newest_checkpoint(folder), name)


def same(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def distance(a, b):
    assert a.keys() == b.keys()
    return max((a[name] - b[name]).abs().max().item() for name in a)


def test_it_is_the_plain_loop(tmp_path):
    """Reference: ten lines of torch on the same batches, AdamW with decay on matrices, warm-up, clipping."""
    config = replace(CONFIG, warmup=4, schedule="cosine", weight_decay=0.1, betas=(0.8, 0.9), grad_clip=0.5)
    toy = Toy()
    fit(toy, Batches(Sentences()), config, tmp_path)

    plain, losses = Toy(), {}
    named = [(n, p) for n, p in plain.named_parameters() if p.requires_grad]
    matrices, vectors = [p for _, p in named if p.ndim > 1], [p for _, p in named if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], betas=(0.8, 0.9)
    )
    for step, batch in enumerate(Batches(Sentences()).pieces(3, range(12), 8, 1, range(1))):
        rate = 3e-3 * ((step + 1) / 4 if step < 4 else 0.5 + 0.5 * math.cos(math.pi * (step - 4) / 8))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = plain.loss(batch)["loss"]
        losses[step + 1] = loss.item()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        optimizer.step()

    assert logged(tmp_path, "loss") == pytest.approx(losses, abs=1e-6)
    assert distance(toy.state_dict(), plain.state_dict()) < 1e-6
    assert max(logged(tmp_path, "grad_norm").values()) > 0.5, "clipping was never at work"


def test_accumulated_pieces_of_unequal_counts_are_the_whole_batch(tmp_path):
    whole = toy_run(tmp_path / "1", CONFIG)
    cut = toy_run(tmp_path / "4", replace(CONFIG, accumulate=4))
    pieces = next(Batches(Sentences()).pieces(3, range(1), 8, 4, range(4)))
    assert pieces["length"].sum() * 4 != 8 * 6.5, "the lengths of this seed are even, and the test shows nothing"
    assert logged(tmp_path / "4", "loss") == pytest.approx(logged(tmp_path / "1", "loss"), abs=1e-6)
    assert distance(weights(tmp_path / "4"), weights(tmp_path / "1")) < 1e-5
    assert whole.loss == pytest.approx(cut.loss, abs=1e-6)


def test_the_loss_goes_down_and_the_log_tells_the_run(tmp_path):
    result = toy_run(tmp_path, replace(CONFIG, steps=150, log_every=50, checkpoint_every=0))
    log = lines(tmp_path)
    assert [line["step"] for line in log] == [50, 100, 150]
    assert log[-1]["loss"] == result.loss < 0.7 * log[0]["loss"]
    assert log[-1].keys() == {
        "step",
        "loss",
        "word_loss",
        "words",
        "lr",
        "grad_norm",
        "samples_per_s",
        "eta_s",
        "rss_mb",
    }
    assert log[-1]["eta_s"] == 0 and log[0]["eta_s"] > 0 and log[0]["rss_mb"] > 50
    assert result.samples_per_second > 0
    assert [p.name for p in tmp_path.glob("step_*")] == ["step_000150"] == [result.checkpoint.name]


def test_a_finished_run_is_not_trained_again_and_can_be_prolonged(tmp_path):
    first = toy_run(tmp_path / "a", CONFIG)
    again = toy_run(tmp_path / "a", CONFIG)
    assert (again.step, again.loss, again.samples_per_second) == (12, first.loss, 0.0)
    toy_run(tmp_path / "a", replace(CONFIG, steps=20))
    toy_run(tmp_path / "b", replace(CONFIG, steps=20))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert logged(tmp_path / "a", "loss") == logged(tmp_path / "b", "loss")
    with pytest.raises(InputError, match=r"steps=12.*at least 20"):
        toy_run(tmp_path / "a", CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": replace(CONFIG, lr=1e-2)}, r"config\.lr is 0\.01.*expected 0\.003"),
        ({"config": replace(CONFIG, seed=4)}, r"config\.seed is 4.*expected 3"),
        ({"config": replace(CONFIG, ema=0.9)}, r"config\.ema is 0\.9.*expected 0\.0"),
        ({"config": replace(CONFIG, schedule="cosine")}, r"config\.(schedule|steps) is"),
        ({"config": replace(CONFIG, accumulate=2)}, r"processes x accumulate is 2.*expected 1"),
        ({"batches": Batches(Sentences(41))}, r"data\.length is 41.*expected 40"),
        ({"batches": Batches(Sentences(), shuffle=False)}, r"data\.shuffle is False"),
        ({"system": Toy(ToyConfig(dropout=0.1))}, r"system\.config\.dropout is 0\.1.*expected 0\.0"),
        ({"system": Toy(ToyConfig(width=8))}, r"system\.config\.width is 8.*expected 16"),
        ({"lr_scale": lambda name: 0.5 if "head" in name else 1.0}, r"system\.lr_scale\.head\.weight is 0\.5"),
        ({"resume": False}, r"holds step_000012"),
    ],
)
def test_a_different_run_is_not_resumed(tmp_path, change, message):
    toy_run(tmp_path, CONFIG)
    call = {"system": Toy(), "batches": Batches(Sentences()), "config": CONFIG, **change}
    with pytest.raises(InputError, match=message):
        fit(**call, folder=tmp_path)
    assert toy_run(tmp_path, replace(CONFIG, log_every=7, checkpoint_every=3, keep=1)).step == 12


class Explodes(Toy):
    """Its loss stops being finite at the sixth call."""

    calls, bad = 0, math.nan

    def loss(self, batch, totals):
        self.calls += 1
        terms = super().loss(batch, totals)
        return {**terms, "loss": terms["loss"] * (self.bad if self.calls == 6 else 1.0)}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_before_the_update(tmp_path, bad):
    toy = Explodes()
    toy.bad = bad
    with pytest.raises(TrainingError, match=rf"step 6: loss {bad}.*lower lr.*last good checkpoint is .*step_000005"):
        fit(toy, Batches(Sentences()), CONFIG, tmp_path)
    assert same(weights(tmp_path), ckpt.module_tensors(toy))
    with pytest.raises(TrainingError, match=r"step 6.*no checkpoint was written yet"):
        fit(Explodes(), Batches(Sentences()), replace(CONFIG, checkpoint_every=0), tmp_path / "none")


class Endless(nn.Linear):
    """A finite loss whose gradient is not: the slope of the square root at 0."""

    def loss(self, batch):
        return {"loss": (self(batch["words"]) * 0).abs().sum().sqrt()}


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(TrainingError, match=r"step 1: loss 0, gradient norm nan"):
        fit(Endless(8, 8), Batches(Sentences()), CONFIG, tmp_path)


class Mean(nn.Linear):
    """A mean over samples needs no units."""

    def loss(self, batch):
        return {"loss": (self(batch["words"]) - 1).square().mean(), "ones": 1.0}


def test_a_mean_over_samples_needs_no_units(tmp_path):
    torch.manual_seed(0)
    whole, cut = Mean(8, 8), Mean(8, 8)
    cut.load_state_dict(whole.state_dict())
    fit(whole, Batches(Sentences()), CONFIG, tmp_path / "1")
    fit(cut, Batches(Sentences()), replace(CONFIG, accumulate=4), tmp_path / "4")
    assert logged(tmp_path / "4", "loss") == pytest.approx(logged(tmp_path / "1", "loss"), abs=1e-6)
    assert distance(whole.state_dict(), cut.state_dict()) < 1e-6
    assert set(logged(tmp_path / "4", "ones").values()) == {1.0}


def test_averaged_weights_are_evaluated_and_handed_out_and_training_is_not_disturbed(tmp_path):
    seen = {}

    def evaluate(system, step):
        assert not system.training and not torch.is_grad_enabled()
        seen[step] = system.head.weight.clone()
        torch.rand(step)  # randomness used here must not reach the training
        return {"score": torch.rand(1).item()}

    config = replace(CONFIG, ema=0.8, evaluate_every=5)
    toy = Toy(ToyConfig(dropout=0.2))
    fit(toy, Batches(Sentences()), config, tmp_path / "a", evaluate=evaluate)
    toy_run(tmp_path / "b", replace(CONFIG, ema=0.8), dropout=0.2)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert list(seen) == [5, 10, 12]
    average = weights(tmp_path / "a", "ema")["head.weight"]
    assert torch.equal(seen[12], average) and torch.equal(toy.head.weight, average)
    assert not torch.equal(average, weights(tmp_path / "a")["head.weight"])
    assert not toy.training and toy.head.weight.requires_grad

    again = {}
    fit(
        Toy(ToyConfig(dropout=0.2)),
        Batches(Sentences()),
        config,
        tmp_path / "c",
        evaluate=lambda s, step: again.setdefault(step, evaluate(s, step)),
    )
    assert logged(tmp_path / "c", "evaluate/score") == logged(tmp_path / "a", "evaluate/score")


def test_the_average_follows_its_formula(tmp_path):
    toy_run(tmp_path, replace(CONFIG, steps=3, checkpoint_every=1, keep=9, ema=0.3))
    average = Toy().head.weight.detach()
    for step in (1, 2, 3):
        decay = min(0.3, (1 + step) / (10 + step))
        new = ckpt.read_tensors(tmp_path / f"step_{step:06d}", "model")["head.weight"]
        average = decay * average + (1 - decay) * new
    assert torch.allclose(weights(tmp_path, "ema")["head.weight"], average, atol=1e-7)


@pytest.mark.parametrize(("mode", "best_step", "best"), [("max", 3, 0.9), ("min", 6, 0.1)])
def test_the_best_weights_are_kept(tmp_path, mode, best_step, best):
    scores = {3: 0.9, 6: 0.1, 9: math.nan, 12: 0.5}
    kept = {}

    def evaluate(system, step):
        kept[step] = {name: tensor.clone() for name, tensor in system.state_dict().items()}
        return {"score": scores[step]}

    config = replace(CONFIG, evaluate_every=3, best="score", best_mode=mode)
    result = fit(Toy(), Batches(Sentences()), config, tmp_path, evaluate=evaluate)
    toy = Toy()
    load_module(toy, result.best)
    assert same(toy.state_dict(), kept[best_step]) and ckpt.best_value(tmp_path) == best
    assert logged(tmp_path, "evaluate/score") == {3: 0.9, 6: 0.1, 9: None, 12: 0.5}
    with pytest.raises(InputError, match=r"best='cider'.*one of score"):
        fit(Toy(), Batches(Sentences()), replace(config, best="cider"), tmp_path / "b", evaluate=evaluate)


def test_lines_of_a_lost_future_and_a_torn_line_are_dropped(tmp_path):
    toy_run(tmp_path, replace(CONFIG, steps=7, checkpoint_every=5))
    ckpt._remove(tmp_path / "step_000007")  # as if killed after step 7 was logged and before it was saved
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')
    toy_run(tmp_path, replace(CONFIG, steps=7))
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]


class Clock(Toy):
    def loss(self, batch, totals):
        assert batch["time"].dtype == torch.float64 and batch["time"][0] == 123.4
        hidden = self.hidden(self.embed(batch["words"]))
        assert hidden.dtype == torch.bfloat16 and self.embed.weight.dtype == torch.float32
        return super().loss(batch, totals)


class Timed(Sentences):
    def sample(self, rng, index):
        return {**super().sample(rng, index), "time": torch.tensor(123.4, dtype=torch.float64)}


def test_mixed_precision_reaches_the_layers_but_not_the_times_in_the_batch(tmp_path):
    result = fit(Clock(), Batches(Timed()), replace(CONFIG, precision="bf16-mixed"), tmp_path)
    assert math.isfinite(result.loss)
    full = toy_run(tmp_path / "full", CONFIG)
    assert 0 < abs(result.loss - full.loss) < 0.05


def test_a_slower_part_moves_less(tmp_path):
    start = Toy().state_dict()
    fit(Toy(), Batches(Sentences()), CONFIG, tmp_path, lr_scale=lambda name: 0.0 if "embed" in name else 1.0)
    end = weights(tmp_path)
    assert torch.equal(end["embed.weight"], start["embed.weight"])
    assert torch.equal(end["frozen"], start["frozen"])
    assert not torch.equal(end["hidden.weight"], start["hidden.weight"])


def test_arguments_that_contradict_each_other_are_refused(tmp_path):
    with pytest.raises(InputError, match="evaluate_every=0 with evaluate="):
        fit(Toy(), Batches(Sentences()), CONFIG, tmp_path, evaluate=lambda system, step: {})
    with pytest.raises(InputError, match="evaluate_every=5 with evaluate=None"):
        fit(Toy(), Batches(Sentences()), replace(CONFIG, evaluate_every=5), tmp_path)
    with pytest.raises(InputError, match=r"Linear without loss\(batch\)"):
        fit(nn.Linear(2, 2), Batches(Sentences()), CONFIG, tmp_path)


def test_a_system_that_tells_only_half_of_its_denominators_is_refused(tmp_path):
    class NoUnits(nn.Linear):
        def loss(self, batch, totals=None):
            return {"loss": self.weight.sum()}

    class NoTotals(nn.Linear):
        def loss(self, batch):
            return {"loss": self.weight.sum()}

        def units(self, batch):
            return (1,)

    with pytest.raises(InputError, match=r"NoUnits with loss\(batch, totals\) without units"):
        fit(NoUnits(2, 2), Batches(Sentences()), CONFIG, tmp_path)
    with pytest.raises(InputError, match=r"NoTotals with units\(batch\) without loss\(batch, totals\)"):
        fit(NoTotals(2, 2), Batches(Sentences()), CONFIG, tmp_path)
