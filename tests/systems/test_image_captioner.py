"""The image captioner: it learns from texts alone, and images stand in for texts."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from whenwhere.backbones.space import Bridge, BridgeConfig, BridgeMaps
from whenwhere.errors import InputError, WeightsError
from whenwhere.layers.text_bank import BankConfig
from whenwhere.layers.text_decoder import TextDecoderConfig
from whenwhere.layers.vocab import Vocab
from whenwhere.recipes import image_captioner
from whenwhere.systems.image_captioner import CaptionOptions, ImageCaptioner, ImageCaptionerConfig, TextBatch

TEXTS = ["a cat sleeps", "a dog runs", "a red bus", "two people eat", "a plane flies", "the sea"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({word for text in TEXTS for word in text.split()})]


@pytest.fixture
def parts():
    torch.manual_seed(0)
    space = Bridge(
        BridgeConfig(), BridgeMaps(torch.eye(16), torch.randn(20, 16), torch.zeros(16), torch.zeros(20), torch.eye(16))
    )
    features = F.normalize(torch.randn(len(TEXTS), 16), dim=-1)
    vocab = Vocab.wordpiece(PIECES, 0)
    decoder = TextDecoderConfig(
        width=32, depth=1, num_heads=2, mlp_width=64, max_positions=12, dropout=0.0, attention_dropout=0.0
    )
    config = ImageCaptionerConfig(
        dim=32,
        bank_rows=len(TEXTS),
        bank_width=16,
        bank=BankConfig((0.3,), 2),
        words=vocab.words,
        noise=(0.0, 0.5),
        smoothing=0.0,
        decoder=decoder,
        options=CaptionOptions(max_length=8),
    )
    return ImageCaptioner(config, vocab, space, features), features


def batch_of(model, features, exclude=True):
    texts = [model.vocab.sequence([model.vocab.encode(text)]) for text in TEXTS]
    rows = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.int64)
    for row, ids in zip(rows, texts):
        row[: len(ids)] = torch.tensor(ids)
    group = torch.arange(len(TEXTS)) if exclude else torch.full((len(TEXTS),), -1)
    return TextBatch(model.space.place_texts(features), group, rows, torch.arange(len(TEXTS)))


def test_it_learns_to_write_what_is_placed(parts):
    model, features = parts
    batch = batch_of(model, features, exclude=False)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        model.loss(batch)["loss"].backward()
        optimizer.step()
    said = [caption.text.lower() for caption in model.caption_places(batch.places)]
    assert sum(a == b for a, b in zip(said, TEXTS)) >= 5


def test_parts_of_a_batch_add_up(parts):
    model, features = parts
    whole = batch_of(model, features)
    halves = [TextBatch(*(x[rows] for x in vars(whole).values())) for rows in (slice(0, 2), slice(2, 6))]
    totals = tuple(map(sum, zip(*(model.units(half) for half in halves))))
    assert totals == model.units(whole)
    summed = sum(model.loss(half, totals)["loss"] for half in halves)
    torch.testing.assert_close(summed, model.loss(whole)["loss"])


def test_the_own_row_of_the_bank_is_hidden_in_training(parts):
    model, features = parts
    batch = batch_of(model, features)
    shown = model.bank.describe(model.move(batch), model.config.bank, batch.group)
    nearest = shown[:, 1, :16]
    assert not any(torch.equal(row, own) for row, own in zip(nearest, model.bank.values))


def test_files_hold_the_model_and_nothing_else(parts, tmp_path):
    model, features = parts
    model.eval()
    model.bank  # noqa: B018 - placed in the space, which must not reach the file
    model.save(tmp_path, torch.float32)
    again = ImageCaptioner.load(tmp_path, model.space)
    assert {name.split(".")[0] for name in again.state_dict()} == {"decoder", "bank_features"}
    places = model.space.place_texts(features)
    assert again.caption_places(places) == model.caption_places(places)
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(WeightsError):
        ImageCaptioner.load(tmp_path)


def test_the_same_image_gets_the_same_caption_alone_and_among_others(parts):
    model, features = parts
    places = model.space.place_texts(features)
    together = model.caption_places(places)
    assert model.caption_places(places) == together
    assert [model.caption_places(place[None])[0] for place in places] == together


def test_a_model_saved_with_word_weights_still_loads(parts, tmp_path):
    model, features = parts
    model.eval().save(tmp_path, torch.float32)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({**tensors, "idf": torch.ones(model.config.words)}, tmp_path / "model.safetensors")
    places = model.space.place_texts(features)
    assert ImageCaptioner.load(tmp_path, model.space).caption_places(places) == model.caption_places(places)


def test_the_shipped_model_loads():
    model = ImageCaptioner.load(image_captioner.FOLDER)
    assert model.config.options == CaptionOptions() and "idf" not in model.state_dict()


@pytest.mark.parametrize("bad", [{"beam": 0}, {"max_length": 1}])
def test_bad_options_are_refused(bad):
    with pytest.raises(InputError):
        CaptionOptions(**bad)
