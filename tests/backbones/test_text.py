"""The small language model: what it says, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch

from whenwhere.backbones.default_models import MODELS
from whenwhere.backbones.text import language_model
from whenwhere.backbones.weights import FORMAT, MANIFEST, list_models
from whenwhere.errors import InputError, WeightsError

MODEL = MODELS["smollm2-135m"]


@pytest.fixture(scope="module")
def smollm2():
    pytest.importorskip("gguf", reason="the language model is read with gguf")
    (found,) = list_models([MODEL.name])
    if found.state != "ready":
        pytest.skip(f"{MODEL.name} is {found.state}; run: {found.remedy}")
    return language_model(dtype=torch.bfloat16)


@torch.no_grad()
def logprob(model, tokenizer, start: str, rest: str) -> float:
    """Log-probability in nats that the model gives to ``rest`` after ``start``."""
    first, whole = tokenizer.encode(start), tokenizer.encode(start + rest)
    assert whole[: len(first)] == first
    table = model(torch.tensor([whole])).logits[0].float().log_softmax(-1)
    return sum(table[i - 1, whole[i]].item() for i in range(len(first), len(whole)))


@pytest.mark.models
def test_the_tokenizer_gives_every_text_back(smollm2):
    _, tokenizer = smollm2
    for text in ("A man riding a wave on a surfboard.", "naïve café, 12:30 — 猫"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("A man riding a wave")) == 5  # whole words, not letters
    assert tokenizer.decode([tokenizer.bos_token_id, tokenizer.eos_token_id]) == "<|im_start|><|im_end|>"


@pytest.mark.models
@pytest.mark.parametrize(
    ("start", "good", "shuffled"),
    [
        ("The capital of France is", " Paris, a city on the river Seine.", " river on Seine a, the city Paris."),
        ("A dog is running", " across the field after a ball.", " a field after across ball the."),
        ("She opened the window to let", " some fresh air into the room.", " into air the some room fresh."),
    ],
)
def test_it_prefers_sense_to_the_same_words_shuffled(smollm2, start, good, shuffled):
    model, tokenizer = smollm2
    assert logprob(model, tokenizer, start, good) > logprob(model, tokenizer, start, shuffled) + 5


@pytest.mark.models
def test_it_continues_a_sentence(smollm2):
    model, tokenizer = smollm2
    ids = torch.tensor([tokenizer.encode("The capital of France is")])
    said = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False)
    assert tokenizer.decode(said[0, ids.shape[1] :]).split()[0].startswith("Paris")


def test_a_damaged_file_in_the_cache_is_named_with_the_way_out(cache):
    pytest.importorskip("gguf", reason="the language model is read with gguf")
    folder = cache / "models" / MODEL.name
    folder.mkdir(parents=True)
    (file,) = MODEL.files
    (folder / file.target).write_bytes(b"GGUF" + b"\0" * 100)
    files = {file.target: {"sha256": file.sha256}}
    manifest = {"package": MODEL.package, "version": MODEL.version, "format": FORMAT, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match=r"gguf has SHA-256 .*whenwhere models fetch --force smollm2-135m"):
        language_model()
    (folder / file.target).unlink()
    with pytest.raises(WeightsError, match=r"gguf: No such file.*whenwhere models fetch --force smollm2-135m"):
        language_model()


def test_a_missing_file_names_the_command_that_fetches_it(cache, shelf, monkeypatch):
    pytest.importorskip("gguf", reason="the language model is read with gguf")
    monkeypatch.setenv("WHENWHERE_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"not in the cache.*whenwhere models fetch smollm2-135m"):
        language_model()


def test_folders_that_hold_no_language_model_are_refused(tmp_path):
    with pytest.raises(InputError, match="unknown language model 'gpt'.*smollm2-135m"):
        language_model("gpt")
    with pytest.raises(WeightsError, match=r"config\.json does not exist"):
        language_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin.*can run code"):
        language_model(tmp_path)


def test_a_folder_serves_and_lacks_no_tokenizer(tmp_path):
    import transformers

    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    made = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=20, **small))
    made.save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="causal language model of transformers with its tokenizer"):
        language_model(tmp_path)
    words = {word: i for i, word in enumerate(["[UNK]", "[PAD]", *"abcdefghijklmnopqr"])}
    (tmp_path / "tokenizer.json").write_text(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [],
                "pre_tokenizer": {"type": "Whitespace"},
                "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"},
            }
        )
    )
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    model, tokenizer = language_model(tmp_path)
    ids = torch.tensor([tokenizer.encode("c a b")])
    assert ids.tolist() == [[4, 2, 3]] and not model.training
    torch.testing.assert_close(model(ids).logits, made.eval()(ids).logits)
