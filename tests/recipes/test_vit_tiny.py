"""Pretraining of the small vision transformer: its pictures, its targets, and a short run from end to end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from whenwhere.backbones.vision import TimmBackbone, vision
from whenwhere.errors import InputError
from whenwhere.recipes import vit_tiny
from whenwhere.recipes.demo_video import photograph
from whenwhere.recipes.vit_pictures import PHOTOGRAPHS, PictureOptions, Pool, _paste, picture, read_folder
from whenwhere.recipes.vit_teacher import Taught, make_taught, teach
from whenwhere.recipes.vit_tiny import Distillation, Mirrored, Recipe, new_student, save
from whenwhere.training.data import Batches
from whenwhere.training.fit import fit

OPTIONS = PictureOptions(side=64, scenes=0)
SMALL = Recipe(width=32, depth=2, heads=2, pictures=OPTIONS, count=24, held_out=4)


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(0)
    photographs = [torch.from_numpy(rng.integers(0, 256, (3, 50 + n, 90), np.uint8)) for n in range(3)]
    cut_out = torch.zeros(4, 30, 20, dtype=torch.uint8)
    cut_out[0], cut_out[3, 5:25] = 255, 255
    return Pool([(1.0, photographs)], [cut_out])


@pytest.fixture(scope="module")
def teacher():
    import timm

    torch.manual_seed(0)
    return TimmBackbone(timm.create_model("tf_efficientnet_lite0", pretrained=False), "random")


@pytest.fixture(scope="module")
def taught(pool, teacher):
    made = [picture(pool, OPTIONS, np.random.default_rng((0, n))) for n in range(SMALL.count)]
    return teach(teacher, torch.stack(made))


def test_a_picture_is_a_function_of_its_random_state(pool):
    first, again, other = (picture(pool, OPTIONS, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (3, 64, 64) and first.dtype == torch.uint8
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_cut_out_hides_what_is_behind_it_and_nothing_else():
    whole = torch.zeros(4, 30, 20, dtype=torch.uint8)
    whole[3] = 255
    half = whole.clone()
    half[3, :15] = 0  # black below, see-through above
    for seed in range(20):
        hidden = []
        for cut_out in (whole, half):
            made = torch.zeros(3, 64, 64)
            made[2] = 1.0
            _paste(made, cut_out, np.random.default_rng(seed))
            assert made[:2].max() == 0 and made[2].min() > -1e-6 and made[2].max() == 1
            hidden.append(1 - made[2])
        assert (hidden[1] <= hidden[0] + 1e-6).all()  # what is see-through hides nothing
        assert 0 < hidden[1].sum() < 0.98 * hidden[0].sum()


def test_a_folder_is_read_as_photographs_and_cut_outs(tmp_path):
    (tmp_path / "deep").mkdir()
    Image.new("RGB", (40, 30), (9, 8, 7)).save(tmp_path / "deep" / "a.jpg")
    drawn = Image.new("RGBA", (400, 200))
    drawn.paste((255, 0, 0, 255), (100, 50, 300, 150))
    drawn.save(tmp_path / "b.png")
    Image.new("RGBA", (10, 10)).save(tmp_path / "tiny.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    photographs, cut_outs = read_folder(tmp_path)
    assert [tuple(p.shape) for p in photographs] == [(3, 30, 40)]
    assert [tuple(c.shape) for c in cut_outs] == [(4, 88, 176)]  # trimmed to 200 x 100, then scaled
    assert cut_outs[0][3].min() == 255
    with pytest.raises(InputError, match="--pictures"):
        read_folder(tmp_path / "nowhere")


def test_the_photographs_are_in_the_packages():
    pytest.importorskip("skimage", reason="scikit-image ships the photographs")
    pytest.importorskip("sklearn", reason="scikit-learn ships two of them")
    assert len(set(PHOTOGRAPHS)) == 16 and all(photograph(name).is_file() for name in PHOTOGRAPHS)


def test_targets_are_what_the_teacher_says(taught, teacher):
    with torch.no_grad():
        pixels = teacher.preprocess([p.permute(1, 2, 0).numpy() for p in taught.pixels[:2]], 64)
        logits, pooled = teacher.model(pixels), teacher.pooled(pixels)
        places = teacher.states(pixels, [3])[0]
    for said, expected in ((taught.logits, logits), (taught.pooled, pooled), (taught.map, places)):
        torch.testing.assert_close(said[:2].float(), expected, rtol=2e-3, atol=2e-3)


def test_mirroring_turns_pixels_and_map_together(taught, teacher):
    rows = Mirrored(taught, 20)
    plain, turned = (rows.collate([(3, mirrored)]) for mirrored in (False, True))
    assert torch.equal(turned["pixels"][0], plain["pixels"][0].flip(-1))
    assert torch.equal(plain["pixels"][0], taught.pixels[3])
    places = torch.arange(16.0)[None, :, None]
    turned_map = vit_tiny._mirrored(places, torch.tensor([True]))[0, :, 0]
    assert turned_map.tolist() == [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12]


def test_the_start_looks_at_what_is_alike():
    torch.manual_seed(0)
    query, key, _ = new_student(SMALL).blocks[0].attn.qkv.weight.detach().chunk(3)
    alike = query[:16].T @ key[:16]  # of the first head
    off = alike - torch.diag(alike.diagonal())
    assert alike.diagonal().mean() > 4 * off.abs().mean()
    product = new_student(SMALL).blocks[0].attn
    mixed = product.proj.weight.detach() @ product.qkv.weight.detach().chunk(3)[2]
    assert -0.6 < mixed.diagonal().mean() < -0.2


def test_a_short_run_learns_and_its_weights_load_as_a_backbone(taught, tmp_path):
    recipe = replace(
        SMALL, fit=replace(SMALL.fit, steps=30, batch=10, warmup=5, ema=0.0, evaluate_every=30, checkpoint_every=0)
    )
    torch.manual_seed(0)
    system = Distillation(recipe, taught)
    rows = Mirrored(taught, 20)
    seen = rows.collate([(row, False) for row in range(20)])
    with torch.no_grad():
        before = {name: float(value) for name, value in system.eval().loss(seen).items()}
    after = {}

    def evaluate(system, step):
        after.update({name: float(value) for name, value in system.loss(seen).items()})
        return after

    fit(system, Batches(rows, rows.collate), recipe.fit, tmp_path / "run", evaluate=evaluate)
    assert after["pooled"] < 0.9 * before["pooled"] and after["map"] < before["map"]

    save(system.student, recipe, tmp_path / "vit")
    backbone = vision(tmp_path / "vit")
    assert (backbone.width, backbone.depth, backbone.size, backbone.prefix_tokens) == (32, 2, 64, 0)
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}
    pixels = backbone.preprocess([p.permute(1, 2, 0).numpy() for p in taught.pixels[:4]])
    with torch.no_grad():
        tokens = system.tokens(taught.pixels[:4], torch.arange(16))
    assert torch.nn.functional.cosine_similarity(backbone.tokens(pixels), tokens, dim=-1).min() > 0.999
    torch.testing.assert_close(backbone.pooled(pixels), backbone.tokens(pixels).mean(1))
    torch.testing.assert_close(backbone.finish(backbone.states(pixels, [-1])[0]), backbone.pooled(pixels))


def test_the_loss_of_a_picture_does_not_depend_on_its_batch(taught):
    torch.manual_seed(0)
    system = Distillation(SMALL, taught).eval()
    rows = Mirrored(taught, 20)
    with torch.no_grad():
        both = system.loss(rows.collate([(0, False), (1, True)]))
        each = [system.loss(rows.collate([(row, mirrored)])) for row, mirrored in ((0, False), (1, True))]
    for name, value in both.items():
        assert float(value) == pytest.approx(float(each[0][name] + each[1][name]) / 2, rel=1e-4)


def test_a_work_folder_of_another_recipe_is_refused(tmp_path):
    (tmp_path / "pictures.json").write_text("{}")
    with pytest.raises(InputError, match="--work"):
        make_taught(tmp_path, OPTIONS, SMALL.count)


def test_taught_rows_are_counted(taught):
    assert len(taught) == SMALL.count == len(Taught(**vars(taught)))


def test_the_weights_that_ship():
    file = vit_tiny.FOLDER / "model.safetensors"
    assert file.stat().st_size < 10_000_000
    with safe_open(file, "pt") as tensors:
        assert {tensors.get_slice(name).get_dtype() for name in tensors.keys()} == {"BF16"}  # noqa: SIM118
    backbone = vision("vit-tiny")
    recipe = Recipe()
    assert (backbone.name, backbone.width, backbone.depth) == ("vit-tiny", recipe.width, recipe.depth)
    assert (backbone.size, backbone.grid, backbone.prefix_tokens) == (128, (8, 8), 0)
    assert backbone.width % 8 == 0 and {p.dtype for p in backbone.parameters()} == {torch.float32}
