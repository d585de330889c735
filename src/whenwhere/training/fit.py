"""The training loop, in execution order, for every system of the package, on Lightning Fabric.

What a system gives:

- ``loss(batch) -> {"loss": scalar, other scalars to log}``. The pieces of a global batch (over processes, by
  ``torchrun``, and over ``accumulate`` in each) have equally many samples, and the loop minimises the mean over pieces:
  right for a loss that is a mean over samples.
- A loss that divides by anything else (words, boxes) also gives ``units(batch) -> (number, ...)``, what it divides by,
  and ``loss(batch, totals)``. The loop adds the units of all pieces up before the first of them is run and hands the
  totals to each; ``loss`` divides its sums by them, so that the scalars of the pieces add up to those of the global
  batch, whatever the lengths of the texts in them. It may log the units themselves, which add up as well.

What is exact, and shown by tests:

- A run that is killed at any moment and started again ends with the same weights, to the bit, on a CPU with the same
  number of threads, with dropout and mixed precision too: data order and noise are functions of (seed, step, piece),
  and checkpoints are whole. For that, the loop seeds torch, numpy and ``random`` anew for every piece.
- Runs of the same global batch in the same number of pieces (processes x accumulate) are the same up to the rounding
  of sums, dropout included. Cut into a different number of pieces, they are the same with dropout 0; with dropout they
  draw other masks from the same distribution. Batch normalisation sees a piece at a time, so it is outside of this.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn

from whenwhere.errors import InputError
from whenwhere.training import checkpoint as ckpt
from whenwhere.training.config import FitConfig, TrainingError
from whenwhere.training.data import Batches, seed_noise, to_device
from whenwhere.training.ema import Ema
from whenwhere.training.log import Journal
from whenwhere.training.schedule import lr_at, parameter_groups

Evaluate = Callable[[Any, int], Mapping[str, float]]

# Fields that may change between two starts of a run, because the weights of a step do not depend on them.
# (accumulate may change with the number of processes as long as their product stays.)
_FREE = ("accumulate", "log_every", "checkpoint_every", "keep", "evaluate_every", "device", "unused_parameters")
_EVALUATION = 2**32 - 1  # seeds evaluation: a piece number out of reach of the real ones


@dataclasses.dataclass(frozen=True)
class FitResult:
    """How a run ended.

    Args:
        step: updates done, of all starts together.
        loss: mean loss of the last global batch.
        checkpoint: folder of the last checkpoint.
        best: file with the weights of the best evaluation, if one was asked for.
        samples_per_second: mean training speed of this start, 0 if it had nothing left to do.
    """

    step: int
    loss: float
    checkpoint: Path
    best: Path | None
    samples_per_second: float


def fit(
    system: nn.Module,
    batches: Batches,
    config: FitConfig,
    folder: str | Path,
    *,
    evaluate: Evaluate | None = None,
    lr_scale: Callable[[str], float] | None = None,
    resume: bool = True,
) -> FitResult:
    """Train a system, or go on with a run that was interrupted: the same call does both.

    Run it under ``torchrun --nproc-per-node N`` to use N processes; all of them need to see ``folder``.

    Args:
        system: module with ``loss(batch) -> dict`` as told at the top of this file; trained in place. Seed before
            building it: a run that dies before its first checkpoint begins anew with the weights it is given.
        batches: the data and its order.
        config: how to train.
        folder: the run folder: checkpoints, ``metrics.jsonl``, ``best.safetensors``; made if missing.
        evaluate: ``(system, step) -> {name: value}``, called in the first process every ``config.evaluate_every``
            steps and after the last one, in eval mode and float32, without gradients, with the averaged weights if
            ``config.ema``.
        lr_scale: factor on the learning rate by parameter name (layer-wise decay); 1 for all if None.
        resume: go on from the newest complete checkpoint in ``folder``; if False, refuse a folder that has one.

    Returns:
        How it ended. The system then carries the weights to use: the averaged ones with ``config.ema``, else the last.

    Raises:
        InputError: the arguments contradict each other, or the folder holds a different run; the field is named.
        TrainingError: the loss or gradient is not finite, or the disk is full; says what the last good checkpoint is.
    """
    # 1. Processes, device and precision.
    folder = Path(folder)
    fabric = _launch(config)
    pieces = fabric.world_size * config.accumulate
    own = range(fabric.global_rank * config.accumulate, (fabric.global_rank + 1) * config.accumulate)
    _check_arguments(system, config, pieces, evaluate)

    # 2. The system as one module whose forward is its loss, and its optimizer.
    groups = parameter_groups(system, config.weight_decay, lr_scale)
    run = _describe_run(system, batches, config, pieces, groups)
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)
    objective, step_optimizer = fabric.setup(_Objective(system, pieces), optimizer)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    ema = Ema(system, config.ema) if config.ema else None

    # 3. Where the run stands.
    last = _find_checkpoint(fabric, folder, resume)
    start, loss = _restore(last, run, system, optimizer, ema, config.steps) if last else (0, math.nan)
    stream = batches.pieces(config.seed, range(start, config.steps), config.batch, pieces, own)

    # 4. The loop.
    system.train()
    with Journal(folder / "metrics.jsonl", start, config.steps, config.batch, fabric.is_global_zero) as journal:
        for step in range(start, config.steps):
            rate = lr_at(step, config)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["scale"]

            # Each piece gives its share of the loss; shares and their gradients add up to those of the global batch.
            batches_here = [next(stream) for _ in own]
            totals = _totals(fabric, system, batches_here)
            sums: dict[str, Tensor] = {}
            for piece, batch in zip(own, batches_here):
                seed_noise(config.seed, step, piece)
                batch = to_device(batch, fabric.device)
                with fabric.no_backward_sync(objective, enabled=piece != own[-1]):
                    shares = objective(lambda batch=batch: batch, totals)
                    fabric.backward(shares["loss"])
                for name, share in shares.items():
                    sums[name] = sums.get(name, 0) + torch.as_tensor(share, device=fabric.device).detach().float()

            # The same numbers for every process. DDP has averaged the gradients over processes; they should add up.
            whole = fabric.strategy.all_reduce(torch.stack(list(sums.values())), reduce_op="sum")
            values = dict(zip(sums, whole.tolist()))
            loss = values["loss"]
            gradients = [weight.grad for weight in weights if weight.grad is not None]
            torch._foreach_mul_(gradients, fabric.world_size)
            norm = torch.nn.utils.get_total_norm(gradients)
            _require_finite(step + 1, loss, float(norm), last)

            # Update.
            if config.grad_clip:
                torch.nn.utils.clip_grads_with_norm_(weights, config.grad_clip, norm)
            step_optimizer.step()
            step_optimizer.zero_grad()
            done = step + 1
            if ema:
                ema.update(done)

            # Tell, evaluate, save.
            if done % config.log_every == 0 or done == config.steps:
                journal.step(done, {**values, "lr": rate, "grad_norm": float(norm)})
            if evaluate and (done % config.evaluate_every == 0 or done == config.steps) and fabric.is_global_zero:
                with journal.paused():
                    scores = _evaluate(evaluate, system, ema, done, config, folder)
                journal.write({"step": done, **{f"evaluate/{name}": score for name, score in scores.items()}})
            if (config.checkpoint_every and done % config.checkpoint_every == 0) or done == config.steps:
                last = ckpt.checkpoint_path(folder, done)
                if fabric.is_global_zero:
                    _save(folder, done, loss, run, system, optimizer, ema, config.keep)

    # 5. The weights to use.
    fabric.barrier()  # what the first process wrote is there for all
    if ema:
        ema.apply()
    system.eval()
    best = folder / ckpt.BEST
    assert last is not None  # the last step always writes one
    return FitResult(config.steps, loss, last, best if best.exists() else None, journal.samples_per_second)


class _Objective(nn.Module):
    """``system.loss`` as a forward, which is what Fabric's autocast and DDP's gradient reduction wrap.

    It takes a closure that gives the batch, not the batch: for mixed precision Fabric casts every float tensor among
    the arguments to bfloat16, which would turn a time of 123.4 s into 123.5 s before the system sees it. Inside,
    autocast decides operation by operation, as it should.
    """

    def __init__(self, system: nn.Module, pieces: int) -> None:
        super().__init__()
        self.system, self.pieces = system, pieces

    def forward(self, give: Callable[[], Any], totals: tuple[float, ...] | None) -> dict[str, Any]:
        loss: Callable[..., dict[str, Any]] = getattr(self.system, "loss")  # noqa: B009 (nn.Module's types)
        if totals is not None:
            return loss(give(), totals)
        return {name: value / self.pieces for name, value in loss(give()).items()}


def _totals(fabric: Fabric, system: nn.Module, batches: list[Any]) -> tuple[float, ...] | None:
    """What the loss of a step divides by, over all pieces of all processes; None for a mean over samples."""
    units: Callable[[Any], Sequence[float]] | None = getattr(system, "units", None)
    if units is None:
        return None
    counts = torch.tensor([[float(count) for count in units(batch)] for batch in batches]).sum(dim=0)
    return tuple(fabric.strategy.all_reduce(counts.to(fabric.device), reduce_op="sum").tolist())


def _launch(config: FitConfig) -> Fabric:
    """One process, or those that torchrun started."""
    distributed = torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()
    processes = int(os.environ["LOCAL_WORLD_SIZE"]) if distributed else 1
    nodes = int(os.environ["WORLD_SIZE"]) // processes if distributed else 1
    strategy: DDPStrategy | str = "auto"
    if distributed:
        # The others wait for the first process while it evaluates, so the time-out is long; when a process dies,
        # torchrun ends the rest at once.
        strategy = DDPStrategy(find_unused_parameters=config.unused_parameters, timeout=timedelta(hours=6))
    fabric = Fabric(
        accelerator=config.device,
        devices=processes,
        num_nodes=nodes,
        precision=config.precision,
        strategy=strategy,
    )
    fabric.launch()
    return fabric


def _check_arguments(system: nn.Module, config: FitConfig, pieces: int, evaluate: Evaluate | None) -> None:
    if not callable(getattr(system, "loss", None)):
        raise InputError(f"{type(system).__name__} without loss(batch)", "a system", "give it a loss method")
    divides = "totals" in inspect.signature(getattr(system, "loss")).parameters  # noqa: B009 (nn.Module's types)
    if divides != hasattr(system, "units"):
        given = "loss(batch, totals) without units(batch)" if divides else "units(batch) without loss(batch, totals)"
        raise InputError(f"{type(system).__name__} with {given}", "both or neither", "add the missing one")
    if config.batch % pieces:
        raise InputError(
            f"batch={config.batch}", f"a multiple of processes x accumulate = {pieces}", "change batch or accumulate"
        )
    if bool(evaluate) != bool(config.evaluate_every):
        raise InputError(
            f"evaluate_every={config.evaluate_every} with evaluate={evaluate!r}",
            "both or neither",
            "add the missing one",
        )


def _describe_run(
    system: nn.Module, batches: Batches, config: FitConfig, pieces: int, groups: list[dict[str, Any]]
) -> dict[str, Any]:
    """All that decides the weights of a step, as JSON: two runs with the same description train the same."""
    fields = {name: value for name, value in dataclasses.asdict(config).items() if name not in _FREE}
    if config.schedule != "cosine":
        del fields["steps"]  # may grow: no earlier step depends on it
    settings: Any = getattr(system, "config", None)
    is_dataclass = dataclasses.is_dataclass(settings) and not isinstance(settings, type)
    scales = {name: group["scale"] for group in groups for name, _ in group["params"]}
    return {
        "config": fields,
        "processes x accumulate": pieces,
        "data": {
            "dataset": type(batches.dataset).__name__,
            "length": len(batches.dataset),
            "shuffle": batches.shuffle,
        },
        "system": {
            "class": type(system).__name__,
            "config": dataclasses.asdict(settings) if is_dataclass else None,
            "shapes": {name: list(tensor.shape) for name, tensor in ckpt.module_tensors(system).items()},
            "lr_scale": scales,
        },
    }


def _find_checkpoint(fabric: Fabric, folder: Path, resume: bool) -> Path | None:
    """The first process looks and sweeps, the others are told."""
    last: Path | None = None
    if fabric.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        last = ckpt.newest_checkpoint(folder)
        if not last:
            (folder / ckpt.BEST).unlink(missing_ok=True)  # of a run that died before its first checkpoint
    last = fabric.broadcast(last)
    if last and not resume:
        raise InputError(
            f"{folder} holds {last.name}", "a new folder with resume=False", "resume, or name another folder"
        )
    if last and not last.is_dir():
        raise InputError(f"no {last} seen by process {fabric.global_rank}", "one shared folder", "share the disk")
    return last


def _restore(
    last: Path, run: dict[str, Any], system: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema | None, steps: int
) -> tuple[int, float]:
    """Put weights, moments and average back; returns the updates done and the last loss."""
    state = ckpt.read_state(last)
    ckpt.require_same_run(state["run"], run, last)
    if state["step"] > steps:
        raise InputError(f"steps={steps}", f"at least {state['step']}, the steps done in {last}", "raise steps")
    ckpt.load_module(system, last / "model.safetensors")
    ckpt.load_optimizer(optimizer, ckpt.read_tensors(last, "optimizer"))
    if ema:
        ema.load(ckpt.read_tensors(last, "ema"))
    return state["step"], state["loss"]


def _save(
    folder: Path,
    step: int,
    loss: float,
    run: dict[str, Any],
    system: nn.Module,
    optimizer: torch.optim.Optimizer,
    ema: Ema | None,
    keep: int,
) -> None:
    files = {"model": ckpt.module_tensors(system), "optimizer": ckpt.optimizer_tensors(optimizer)}
    if ema:
        files["ema"] = ema.tensors()
    state = {"loss": loss, "run": run, "versions": {"torch": torch.__version__}}
    ckpt.write_checkpoint(folder, step, files, state, keep)


def _evaluate(
    evaluate: Evaluate, system: nn.Module, ema: Ema | None, step: int, config: FitConfig, folder: Path
) -> dict[str, float]:
    """Scores of the system as it would be used now; keeps its weights if they are the best so far."""
    seed_noise(config.seed, step, _EVALUATION)
    system.eval()
    with torch.no_grad(), ema.applied() if ema else nullcontext():
        scores = {name: float(score) for name, score in evaluate(system, step).items()}
        if config.best:
            if config.best not in scores:
                raise InputError(
                    f"best={config.best!r}", f"one of {', '.join(sorted(scores))}", "change best of FitConfig"
                )
            score, record = scores[config.best], ckpt.best_value(folder)
            sign = 1.0 if config.best_mode == "max" else -1.0
            if math.isfinite(score) and (record is None or sign * score > sign * record):
                ckpt.write_best(folder, ckpt.module_tensors(system), step, config.best, score)
    system.train()
    return scores


def _require_finite(step: int, loss: float, norm: float, last: Path | None) -> None:
    """Stop before the update, so that no checkpoint ever holds weights that are not finite."""
    if math.isfinite(loss) and math.isfinite(norm):
        return
    good = f"the last good checkpoint is {last}" if last else "no checkpoint was written yet"
    raise TrainingError(
        f"step {step}: loss {loss:g}, gradient norm {norm:g}",
        "finite numbers",
        f"lower lr, lengthen warmup or set grad_clip, and look at the samples of this step; {good}",
    )
