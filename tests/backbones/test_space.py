"""The shared image-text space: the bridge in closed form, and CLIP and SigLIP from tiny checkpoints."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from whenwhere.backbones.space import Bridge, BridgeConfig, BridgeMaps, fit_bridge, shared_space
from whenwhere.errors import InputError, WeightsError


def test_the_ridge_map_solves_its_normal_equations():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(30, 20, generator=generator)
    texts = F.normalize(torch.randn(60, 8, generator=generator), dim=-1)
    owner = torch.arange(30).repeat(2)
    text_map, image_map = fit_bridge(rows, texts, owner, ridge=0.7)
    solution = (text_map @ image_map.T).double()  # W, (8, 20)
    unit = F.normalize(rows.double(), dim=-1)
    targets = F.normalize(unit - unit.mean(0), dim=-1)[owner]
    x = texts.double() - texts.double().mean(0)
    residual = x.T @ (targets - x @ solution) - 0.7 * 60 / 30 * solution
    assert residual.abs().max() < 1e-5
    torch.testing.assert_close(image_map.T @ image_map, torch.eye(8), atol=1e-5, rtol=0)


def test_the_basis_loses_nothing_that_texts_can_match():
    generator = torch.Generator().manual_seed(1)
    rows, texts = torch.randn(30, 20, generator=generator), torch.randn(30, 8, generator=generator)
    text_map, image_map = fit_bridge(rows, texts, torch.arange(30), ridge=1.0)
    image, text = torch.randn(5, 20, generator=generator), torch.randn(7, 8, generator=generator)
    torch.testing.assert_close((text @ text_map @ image_map.T) @ image.T, (text @ text_map) @ (image @ image_map).T)


def test_a_linear_relation_is_found():
    generator = torch.Generator().manual_seed(2)
    texts = F.normalize(torch.randn(400, 8, generator=generator), dim=-1)
    rows = texts @ torch.randn(8, 32, generator=generator)
    text_map, image_map = fit_bridge(rows, texts, torch.arange(400), ridge=1e-3)
    places = F.normalize((texts - texts.mean(0)) @ text_map, dim=-1)
    unit = F.normalize(rows, dim=-1)
    images = F.normalize((unit - unit.mean(0)) @ image_map, dim=-1)
    assert ((places @ images.T).argmax(1) == torch.arange(400)).float().mean() > 0.95


@pytest.mark.parametrize(
    ("ridge", "owner"), [(0.0, torch.arange(4)), (1.0, torch.arange(3)), (1.0, torch.arange(4) + 1)]
)
def test_bad_fits_are_refused(ridge, owner):
    with pytest.raises(InputError):
        fit_bridge(torch.randn(4, 6), torch.randn(4, 3), owner, ridge)


def test_a_bridge_survives_the_disk(tmp_path):
    torch.manual_seed(0)
    maps = BridgeMaps(torch.randn(4, 3), torch.randn(6, 3), torch.randn(4), torch.randn(6), torch.randn(9, 4))
    Bridge(BridgeConfig(sizes=(64,)), maps).save(tmp_path)
    again = shared_space(tmp_path)
    assert isinstance(again, Bridge) and again.dim == 3 + 4 and again.config.sizes == (64,)
    features = F.normalize(torch.randn(5, 4), dim=-1)
    torch.testing.assert_close(again.place_texts(features).norm(dim=-1), torch.ones(5))
    (tmp_path / "config.json").write_text('{"kind": "bridge", "depth": 3}')
    with pytest.raises(WeightsError, match="depth"):
        Bridge.load(tmp_path)


def test_similarity_is_the_weighted_mean_of_both_halves():
    torch.manual_seed(0)
    maps = BridgeMaps(torch.randn(4, 3), torch.randn(6, 3), torch.zeros(4), torch.zeros(6), torch.randn(9, 4))
    a, b = F.normalize(torch.randn(2, 5, 4), dim=-1)
    rows = F.normalize(a @ maps.text_map, dim=-1) @ F.normalize(b @ maps.text_map, dim=-1).T
    both = Bridge(BridgeConfig(words=0.5), maps)
    torch.testing.assert_close(both.place_texts(a) @ both.place_texts(b).T, (rows + 0.5 * a @ b.T) / 1.5)
    alone = Bridge(BridgeConfig(words=0.0), maps)
    torch.testing.assert_close(alone.place_texts(a) @ alone.place_texts(b).T, rows)


@pytest.mark.parametrize("bad", [{"sizes": ()}, {"sizes": (8,)}, {"ridge": 0.0}, {"words": -1.0}])
def test_bad_bridges_are_refused(bad):
    with pytest.raises(InputError):
        BridgeConfig(**bad)


def test_an_unknown_space_is_refused(tmp_path):
    with pytest.raises(InputError, match="bridge"):
        shared_space("clip-large")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(WeightsError, match="clip or siglip"):
        shared_space(tmp_path)


def _pair_folder(folder, kind):
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    text = {"vocab_size": 16, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 2, "max_position_embeddings": 12, "pad_token_id": 0, "bos_token_id": 1}
    text |= {"eos_token_id": 2}
    image = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    image |= {"image_size": 32, "patch_size": 8}
    if kind == "clip":
        config = transformers.CLIPConfig(text_config=text, vision_config=image, projection_dim=24)
        transformers.CLIPModel(config).save_pretrained(folder)
    else:
        config = transformers.SiglipConfig(text_config=text, vision_config=image)
        transformers.SiglipModel(config).save_pretrained(folder)
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "a": 4, "cat": 5, "dog": 6, "runs": 7}
    raw = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_pretrained_pair_serves_the_same_calls(tmp_path, kind):
    space = shared_space(_pair_folder(tmp_path / kind, kind))
    images = [np.random.default_rng(i).integers(0, 256, (30, 40, 3), dtype=np.uint8) for i in range(3)]
    places, words = space.embed_images(images, batch=2), space.embed_texts(["a cat", "a dog runs"])
    assert places.shape == (3, space.dim) and words.shape == (2, space.dim)
    for rows in (places, words):
        torch.testing.assert_close(rows.norm(dim=-1), torch.ones(len(rows)))


def test_clip_places_equal_those_of_transformers(tmp_path):
    import transformers

    folder = _pair_folder(tmp_path / "clip", "clip")
    space, model = shared_space(folder), transformers.CLIPModel.from_pretrained(folder).eval()
    images = [np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)]
    pixels = space.image_backbone.preprocess(images)
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(["a cat runs"], return_tensors="pt")
    with torch.no_grad():
        out = model(pixel_values=pixels, input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    torch.testing.assert_close(space.embed_images(images), F.normalize(out.image_embeds, dim=-1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        space.embed_texts(["a cat runs"]), F.normalize(out.text_embeds, dim=-1), atol=1e-5, rtol=1e-4
    )
    parts = space.frame_tokens(images, parts=2)
    assert parts.shape == (1, 5, 24)


@pytest.mark.models
def test_the_shipped_bridge_knows_a_cat_from_coffee():
    skimage = pytest.importorskip("skimage", reason="scikit-image ships the photographs")
    space = shared_space()
    images = space.embed_images([skimage.data.chelsea(), skimage.data.coffee()])
    texts = space.embed_texts(["a close up of a cat", "a cup of coffee on a table"])
    assert torch.equal((images @ texts.T).argmax(1), torch.tensor([0, 1]))
