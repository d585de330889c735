"""The tokeniser against the program it stands in for: recorded tokens always, the program itself where Java is."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from whenwhere.errors import InputError
from whenwhere.metrics.ptb import tokenize

GOLDEN = json.loads((Path(__file__).parent / "golden" / "ptb.json").read_text(encoding="utf-8"))["cases"]


@pytest.mark.parametrize("case", GOLDEN, ids=[case["text"][:30] for case in GOLDEN])
def test_recorded_tokens(case):
    assert tokenize(case["text"]) == case["tokens"]


@pytest.mark.parametrize("name", ["human_vs_human", "degenerate_150"])
def test_tokens_of_shared_captions(shared_data, name):
    items = json.loads((shared_data / "scorers" / "captions" / f"{name}.json").read_text(encoding="utf-8"))["items"]
    texts = [text for item in items for text in (item["candidate"], *item["references"])]
    tokens = [text for item in items for text in (item["tok_candidate"], *item["tok_references"])]
    assert [tokenize(text) for text in texts] == tokens
    assert len(texts) >= 600


def test_line_breaks_are_spaces():
    assert tokenize("a man\nrides\r\na\u2028horse") == "a man rides a horse"


def test_nothing_left():
    assert [tokenize(text) for text in ("", "   ", "...", "?!", "\U0001f600", "\x00")] == [""] * 3 + ["?!", "", ""]


def test_last_letter_does_not_depend_on_the_next_caption():
    assert tokenize("a sign of 12th Ave S.") == "a sign of 12th ave s."


def test_tokens_are_stable_under_tokenising_again():
    once = tokenize("a man's t-shirt and 2 dogs don't match")
    assert tokenize(once) == once


@pytest.mark.parametrize("value", [None, 3, b"a man", ["a man"]])
def test_refuses_what_is_not_text(value):
    with pytest.raises(InputError, match="expected a string"):
        tokenize(value)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The Java program, as a function from texts to tokens; every text stands between lines that cannot affect it."""
    module = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")
    if shutil.which("java") is None:
        pytest.skip("no java")
    jar = Path(module.__file__).parent / module.STANFORD_CORENLP_3_4_1_JAR
    removed = frozenset(module.PUNCTUATIONS)
    file = tmp_path_factory.mktemp("ptb") / "captions.txt"

    def run(texts: Sequence[str]) -> list[str]:
        file.write_text("".join(f"{text}\nzz\n" for text in texts), encoding="utf-8")
        program = ["java", "-Dfile.encoding=UTF-8", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer"]
        done = subprocess.run(
            [*program, "-preserveLines", "-lowerCase", str(file)], capture_output=True, check=True, timeout=300
        )
        lines = done.stdout.decode("utf-8").split("\n")
        assert lines[1 : 2 * len(texts) : 2] == ["zz"] * len(texts), "a text reached into the next line"
        return [
            " ".join(word for word in line.rstrip().split(" ") if word not in removed)
            for line in lines[: 2 * len(texts) : 2]
        ]

    return run


def disagreements(original, texts: Sequence[str]) -> list[tuple[str, str, str]]:
    return [(text, theirs, ours) for text, theirs in zip(texts, original(texts)) if (ours := tokenize(text)) != theirs]


def test_recordings_are_what_the_program_says(original):
    texts = [case["text"] for case in GOLDEN]
    assert original(texts) == [case["tokens"] for case in GOLDEN]


@pytest.mark.parametrize(
    "alphabet, length",
    [("aB1.,-/ ", 4), ("a'st-n", 5), ("A1a.' -&", 4), ("1+-.,:/ ", 4), ("a\"`'()?! .", 4), ("aé1-_/.@#&", 3)],
)
def test_every_short_string(original, alphabet, length):
    texts = ["".join(letters) for size in range(1, length + 1) for letters in itertools.product(alphabet, repeat=size)]
    assert disagreements(original, [text for text in texts if text.strip()]) == []


def test_coco_captions(original, shared_data):
    with gzip.open(shared_data / "text" / "coco_captions.jsonl.gz", "rt", encoding="utf-8") as lines:
        captions = [caption.replace("\n", " ") for line in lines for caption in json.loads(line)["captions"]]
    assert len(captions) > 20_000
    assert disagreements(original, captions[::3]) == []


def test_dense_captions_and_queries(original, shared_data):
    texts = []
    for name in ("qvhighlights_train", "activitynet_captions_val.qvh", "charades_sta_test.qvh"):
        with gzip.open(shared_data / "annotations" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["query"].replace("\n", " ") for line in lines]
    assert len(texts) > 20_000
    assert disagreements(original, texts[::4]) == []


def test_broken_text(original):
    """The recorded texts with signs thrown in, more broken than people write them: almost all are cut the same."""
    draw = random.Random(7)
    signs = [*" .,'-/:;!?\"()&%$#0123456789Aa’“”…—½€é", "n't", "'s", " The ", "St. ", "..."]
    texts = []
    for _ in range(2000):
        letters = list(draw.choice(GOLDEN)["text"][:60])
        for _ in range(draw.randint(1, 4)):
            letters.insert(draw.randrange(len(letters) + 1), draw.choice(signs))
        texts.append("".join(letters))
    whole = [text for text in texts if "<" not in text]  # a tag that stays open swallows the lines after it
    assert len(whole) > 1500
    wrong = disagreements(original, whole)
    assert len(wrong) <= 2, wrong
