"""Sentence vectors from small BERT and T5 folders, against transformers itself."""

from __future__ import annotations

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from whenwhere.backbones.text import text_encoder
from whenwhere.errors import WeightsError

WORDS = ["<pad>", "</s>", "<unk>", "[CLS]", "[SEP]", "a", "dog", "cat", "runs", "sleeps", "on", "grass"]
TEXTS = ["a dog runs on grass", "a cat sleeps", "dog"]


def write(folder, kind: str):
    """A random model of a kind with a word-level tokenizer; returns the model."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>")
    torch.manual_seed(0)
    if kind == "bert":
        config = transformers.BertConfig(
            vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
        model = transformers.BertModel(config)
    else:
        config = transformers.T5Config(vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
        model = transformers.T5EncoderModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("kind", ["bert", "t5"])
@torch.no_grad()
def test_vectors_are_those_of_transformers_whatever_the_batch(tmp_path, kind):
    model = write(tmp_path, kind)
    encoder = text_encoder(tmp_path)
    found = encoder.embed(TEXTS, batch=2)
    assert found.shape == (3, encoder.width) == (3, 16)
    assert torch.allclose(found.norm(dim=-1), torch.ones(3), atol=1e-5)
    for text, row in zip(TEXTS, found):
        ids = torch.tensor([[WORDS.index(word) for word in text.split()]])
        hidden = model(input_ids=ids).last_hidden_state[0]
        expected = hidden[0] if kind == "bert" else hidden.mean(0)  # the first token, or the mean of all
        assert torch.allclose(row, expected / expected.norm(), atol=1e-4)


def test_another_kind_of_model_is_named(tmp_path):
    write(tmp_path, "bert")
    config = (
        (tmp_path / "config.json").read_text(encoding="utf-8").replace('"model_type": "bert"', '"model_type": "opt"')
    )
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    with pytest.raises(WeightsError, match="'opt'.*bert"):
        text_encoder(tmp_path)
