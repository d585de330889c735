"""Which choices make the default image captioner? Each against the reference that differs in that one choice alone.

Command: ``python reproductions/captioner_choices.py --shared DIR`` (default: ``data`` in ``$WHENWHERE_SHARED``, else in
``../shared``). An arm that is in the results file is not run again, so the command may be stopped and given again;
``--arms NAME NAME`` runs some, ``--only-table`` writes the table of REPRODUCTIONS.md anew.
Cost: three to four minutes of one core for most arms, ten for SmolLM2 and for its counterpart: about 90 minutes with
the further seeds of the best.

The reference is the default recipe cut to 300 steps of 64 captions. What is compared is the choices at that budget, not
the captioner that is shipped, which trains thirteen times as long. CIDEr is that of `image_captioner.py`, over the
90 and the 50 images of the two COCO splits; nothing of either is trained on, except that the mean feature that the
bridge takes off images is that of the 50. Intervals are over images (paired bootstrap), so they say nothing of the luck
of a seed; that is what the further seeds of the best arms are for.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whenwhere.backbones.space import Bridge, SharedSpace, shared_space
from whenwhere.backbones.weights import cache_dir
from whenwhere.layers.beam import beam_search
from whenwhere.layers.text_bank import BankConfig
from whenwhere.layers.text_decoder import TextDecoderConfig
from whenwhere.media import read_image
from whenwhere.metrics.cider import cider
from whenwhere.metrics.ptb import tokenize
from whenwhere.recipes.coco_mini import CaptionedImages, caption_texts, read_split
from whenwhere.recipes.image_captioner import CaptionPairs, Recipe, build, cached_features, plain, prepare
from whenwhere.results.files import write_text
from whenwhere.systems.image_captioner import ImageCaptioner
from whenwhere.training.config import FitConfig
from whenwhere.training.data import Batches
from whenwhere.training.fit import fit

ROOT = Path(__file__).parent
OUT = ROOT / "results" / "captioner_choices.json"
PAGE = ROOT.parent / "REPRODUCTIONS.md"
BEGIN, END = "<!-- captioner_choices: begin -->", "<!-- captioner_choices: end -->"
SPLITS = ("val", "train")
BUDGET = FitConfig(
    steps=300,
    batch=64,
    lr=1e-3,
    warmup=30,
    schedule="cosine",
    weight_decay=0.01,
    betas=(0.9, 0.98),
    precision="bf16-mixed",
    ema=0.98,
    log_every=50,
    checkpoint_every=0,
    device="cpu",
)


def shape(width: int, depth: int) -> TextDecoderConfig:
    """The default decoder in another size, heads of 64 channels."""
    return replace(Recipe().decoder, width=width, depth=depth, num_heads=width // 64, mlp_width=4 * width)


@dataclass(frozen=True)
class Arm:
    """One set of choices.

    Attributes:
        group: heading it stands under; arms of "time" are compared among each other.
        noise: least and largest sideways move.
        centred_bank: the rows that the decoder is given are taken about their mean.
        centred_bridge: the bridge takes the mean text and the mean image off before it places them.
        bank: temperatures of the weighted means, and how many of the nearest rows are given one by one.
        decoder: its shape; None for SmolLM2-135M with LoRA.
        fit: the budget.
    """

    group: str
    noise: tuple[float, float] = (1.5, 5.5)
    centred_bank: bool = True
    centred_bridge: bool = True
    bank: BankConfig = field(default_factory=BankConfig)
    decoder: TextDecoderConfig | None = field(default_factory=lambda: Recipe().decoder)
    fit: FitConfig = BUDGET


LANGUAGE = replace(BUDGET, steps=130, batch=32, warmup=13)  # ten minutes of one core for SmolLM2
ARMS = {
    "reference": Arm("reference"),
    "noise 0": Arm("noise", noise=(0.0, 0.0)),
    "noise half": Arm("noise", noise=(0.75, 2.75)),
    "noise double": Arm("noise", noise=(3.0, 11.0)),
    "bank not centred": Arm("centring", centred_bank=False),
    "bridge not centred": Arm("centring", centred_bridge=False),
    "neither centred": Arm("centring", centred_bank=False, centred_bridge=False),
    "no nearest rows": Arm("prefix", bank=BankConfig(nearest=0)),
    "16 nearest rows": Arm("prefix", bank=BankConfig(nearest=16)),
    "1 mean": Arm("prefix", bank=BankConfig((0.4,))),
    "5 means": Arm("prefix", bank=BankConfig((0.15, 0.25, 0.4, 0.8, 1.6))),
    "small decoder, 192 x 2": Arm("decoder", decoder=shape(192, 2)),
    "large decoder, 384 x 6": Arm("decoder", decoder=shape(384, 6)),
    "SmolLM2-135M with LoRA": Arm("time", decoder=None, fit=LANGUAGE),
    "reference, core time of SmolLM2": Arm("time", fit=replace(BUDGET, steps=850, warmup=85)),
    "reference, captions of SmolLM2": Arm("time", fit=LANGUAGE),
}


def uncentred(space: SharedSpace) -> Bridge:
    """The bridge without its two means; encoders are shared."""
    bridge = Bridge.load()
    assert isinstance(space, Bridge)
    bridge._image_backbone, bridge._text_encoder = space.image_backbone, space._text_encoder
    bridge.text_mean.zero_()
    bridge.image_mean.zero_()
    return bridge


@dataclass
class World:
    """What all arms share.

    Attributes:
        groups: training captions by image.
        features: (N, width) text features of the captions.
        spaces: the bridge as it is (True) and without its means (False).
        splits: the images with their captions.
        places: places of the images by (centred, split).
    """

    groups: list[list[str]]
    features: Tensor
    spaces: dict[bool, SharedSpace]
    splits: dict[str, CaptionedImages]
    places: dict[tuple[bool, str], Tensor]

    @classmethod
    def load(cls, shared: Path, work: Path) -> World:
        """Read and embed what is not in the work folder yet."""
        from safetensors.torch import load_file, save_file

        space, groups = shared_space(), caption_texts(shared)
        features = cached_features(space, groups, work)
        splits = {name: read_split(shared, name) for name in SPLITS}
        spaces: dict[bool, SharedSpace] = {True: space, False: uncentred(space)}
        cache = work / "places.safetensors"
        if not cache.is_file():
            images = {name: [read_image(path) for path in splits[name].paths] for name in SPLITS}
            made = {
                f"{name} {centred}": each.embed_images(images[name])
                for name in SPLITS
                for centred, each in spaces.items()
            }
            save_file(made, cache.with_suffix(".part"))
            os.replace(cache.with_suffix(".part"), cache)
        stored = load_file(cache)
        places = {(centred, name): stored[f"{name} {centred}"] for name in SPLITS for centred in spaces}
        return cls(groups, features, spaces, splits, places)


def prepare_arm(arm: Arm, world: World) -> tuple[ImageCaptioner, Batches]:
    """The untrained captioner of an arm and its data."""
    space = world.spaces[arm.centred_bridge]
    recipe = Recipe(decoder=arm.decoder or Recipe().decoder, fit=arm.fit)
    system, batches = build(recipe, world.groups, space, world.features)
    system.config = replace(system.config, noise=arm.noise, bank=arm.bank)
    if not arm.centred_bank:
        system.bank.values = system.bank.features
    torch.manual_seed(arm.fit.seed)
    if arm.decoder is not None:
        system.decoder = type(system.decoder)(system.config.decoder)  # as wide as the tokens of this arm
        return system, batches
    from _language_model_decoder import language_decoder

    decoder, vocab = language_decoder(system.config.decoder.visual_width)
    captions = prepare(world.groups, system.vocab, world.features, recipe.longest)
    texts = [plain(text) for texts in world.groups for text in texts]
    captions.ids[:] = [ids and vocab.encode(text) for ids, text in zip(captions.ids, texts)]  # the same captions
    system.decoder, system.vocab = decoder, vocab  # type: ignore[assignment]
    pairs = CaptionPairs(captions, space.place_texts(world.features), vocab)  # type: ignore[arg-type]
    return system, Batches(pairs, pairs.collate)


@torch.no_grad()
def say(system: ImageCaptioner, places: Tensor, batch: int = 15) -> list[str]:
    """Captions of places with the captioner's own options: best of its beams, many places at once."""
    options, said = system.config.options, []
    system.eval()
    for part in places.split(batch):
        context = system.decoder.encode(system.bank.describe(part, system.config.bank))
        found = beam_search(
            system.decoder.stepper(context),
            bos=system.vocab.bos,
            eos=system.vocab.eos,
            beam=options.beam,
            max_length=options.max_length,
            alpha=options.alpha,
        )
        said += [system.vocab.decode(texts[0].tokens, capitalize=True) for texts in found]
    return said


def run(arm: Arm, world: World, work: Path) -> dict[str, Any]:
    """Train an arm and score it."""
    folder = work / "run"
    shutil.rmtree(folder, ignore_errors=True)  # of an arm that was stopped
    system, batches = prepare_arm(arm, world)
    start = time.process_time()
    fit(system, batches, arm.fit, folder)
    found: dict[str, Any] = {"core_seconds": round(time.process_time() - start)}
    found["trained_weights"] = sum(weight.numel() for weight in system.parameters() if weight.requires_grad)
    for name, split in world.splits.items():
        said = say(system, world.places[arm.centred_bridge, name])
        wanted = [[tokenize(text) for text in group] for group in split.captions]
        scores = cider([tokenize(text) for text in said], wanted)
        found[name] = {
            "cider": round(scores.corpus, 4),
            "items": [round(float(item), 3) for item in scores.items],
            "said": said[:5],
        }
    shutil.rmtree(folder, ignore_errors=True)
    return found


def difference(items: np.ndarray, reference: np.ndarray, rounds: int = 2000) -> tuple[float, float, float]:
    """Mean difference over images and its 95 % interval, by resampling images."""
    gaps = items - reference
    rng = np.random.default_rng(0)
    means = gaps[rng.integers(len(gaps), size=(rounds, len(gaps)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(gaps.mean()), float(low), float(high)


def table(results: dict[str, Any]) -> str:
    """The results as Markdown: every arm that was run, differences to the reference of the same budget."""
    arms = {name: results["arms"][name] for name in ARMS if name in results["arms"]}
    lines = [
        "| choice | arm | CIDEr val | CIDEr train | difference over all 140 images (95 %) | trained weights | core s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, entry in arms.items():
        group = ARMS[name].group
        base = arms.get("SmolLM2-135M with LoRA" if group == "time" else "reference")
        first, against = entry["seeds"]["0"], base["seeds"]["0"] if base else None
        gap = "-"
        if against is not None and against is not first:
            items, reference = (np.array([x for split in SPLITS for x in e[split]["items"]]) for e in (first, against))
            gap = "{:+.3f} ({:+.3f} to {:+.3f})".format(*difference(items, reference))
        cells = []
        for split in SPLITS:
            values = [seed[split]["cider"] for seed in entry["seeds"].values()]
            spread = f" ± {np.std(values, ddof=1):.3f} ({len(values)} seeds)" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{spread}")
        weights = f"{first['trained_weights'] / 1e6:.1f} M"
        lines.append(f"| {group} | {name} | {' | '.join(cells)} | {gap} | {weights} | {first['core_seconds']} |")
    return "\n".join(lines)


def write_page(results: dict[str, Any]) -> None:
    """Put the table between its two marks in REPRODUCTIONS.md."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    write_text(PAGE, f"{before}{BEGIN}\n{table(results)}\n{rest[rest.index(END) :]}")


def jobs(results: dict[str, Any], names: list[str], seeds: int) -> list[tuple[str, int]]:
    """What is still to be run: each arm once, then the best of one budget with further seeds."""
    done = results["arms"]
    first = [(name, 0) for name in names if name not in done]
    if first or seeds < 2:
        return first
    ranked = sorted((n for n in names if ARMS[n].group != "time"), key=lambda n: -done[n]["seeds"]["0"]["val"]["cider"])
    closest = dict.fromkeys([*ranked[:2], *(["reference"] if "reference" in names else [])])
    return [(name, seed) for name in closest for seed in range(1, seeds) if str(seed) not in done[name]["seeds"]]


def main(
    shared: Path | None = None,
    work: Path | None = None,
    arms: tuple[str, ...] = tuple(ARMS),
    seeds: int = 3,
    only_table: bool = False,
) -> None:
    """Run the arms that have no results yet.

    Args:
        shared: folder of the shared data.
        work: folder for embedded captions and images; in the user's cache if not given.
        arms: which arms.
        seeds: seeds of the two best arms and the reference.
        only_table: only write the table of the results that are there.
    """
    shared = shared or Path(os.environ.get("WHENWHERE_SHARED", "../shared")) / "data"
    work = work or cache_dir() / "captioner_choices"
    if unknown := [name for name in arms if name not in ARMS]:
        raise SystemExit(f"unknown arms {unknown}; expected some of {list(ARMS)}")
    results: dict[str, Any] = json.loads(OUT.read_text(encoding="utf-8")) if OUT.is_file() else {"arms": {}}
    for name in [n for n, entry in results["arms"].items() if n not in ARMS or entry["arm"] != plain_arm(ARMS[n])]:
        del results["arms"][name]  # made with other choices than this file now says
    torch.set_num_threads(1)
    world: World | None = None
    while not only_table and (left := jobs(results, list(arms), seeds)):
        world = world or World.load(shared, work)
        name, seed = left[0]
        found = run(replace(ARMS[name], fit=replace(ARMS[name].fit, seed=seed)), world, work)
        entry = results["arms"].setdefault(name, {"arm": plain_arm(ARMS[name]), "seeds": {}})
        entry["seeds"][str(seed)] = found
        results["versions"] = {"torch": torch.__version__}
        OUT.parent.mkdir(exist_ok=True)
        write_text(OUT, json.dumps(results, indent=1) + "\n")
        print(name, seed, found["core_seconds"], *(found[split]["cider"] for split in SPLITS), flush=True)
    if results["arms"]:
        write_page(results)


def plain_arm(arm: Arm) -> dict[str, Any]:
    """An arm as JSON gives it back."""
    return json.loads(json.dumps(asdict(arm)))


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
