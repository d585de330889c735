"""METEOR: recorded figures, the Java program where it runs, numbers worked out by hand on tables made on the spot."""

from __future__ import annotations

import gzip
import importlib.metadata
import importlib.util
import json
import random
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.errors import InputError, MissingDependency
from whenwhere.metrics import meteor_tables
from whenwhere.metrics.captions import captions
from whenwhere.metrics.dense_captions import dense_captions
from whenwhere.metrics.meteor import MeteorScorer, meteor, meteor_pair_scores
from whenwhere.metrics.meteor_alignment import EXACT, PARAPHRASE, Match, align
from whenwhere.metrics.meteor_tables import JAR, PARAPHRASES, LanguageTables, build_tables, find_sources
from whenwhere.metrics.meteor_text import normalise
from whenwhere.metrics.ptb import tokenize
from whenwhere.metrics.soda import soda_c

NEEDED = 2e-3
PREFIXES = {"Mr": False, "A": False, "No": True}
STEMS = {"dogs": "dog", "runs": "run", "running": "run"}


def write_sources(folder, paraphrases: list[tuple[str, str]]) -> dict:
    """The two files of the package, with a handful of entries."""
    sources = {JAR: folder / "small.jar", PARAPHRASES: folder / "small.gz"}
    members = {
        "synonym/english.synsets": "automobile\n7\ncar\n7 8\nsprint\n9\nrun\n9 10\ntrot\n9\n",
        "synonym/english.exceptions": "run\nran\n",
        "function/english.words": "the\na\nof\nto\nin\n,\n.\n",
        "nonbreaking/english.prefixes": "# titles\nMr\n\nNo #NUMERIC_ONLY#\n",
    }
    with zipfile.ZipFile(sources[JAR], "w") as jar:
        for name, text in members.items():
            jar.writestr(name, text)
    text = "".join(f"0.5\n{left}\n{right}\n" for left, right in paraphrases)
    sources[PARAPHRASES].write_bytes(gzip.compress(text.encode()))
    return sources


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> MeteorScorer:
    folder = tmp_path_factory.mktemp("tables")
    paraphrases = [("take part", "participate"), ("million", "000"), ("big", "large"), ("large", "big")]
    sources = write_sources(tmp_path_factory.mktemp("sources"), paraphrases)
    build_tables(sources, folder)
    return MeteorScorer(LanguageTables(folder), lambda word: STEMS.get(word, word))


# What the Java program answers; captions that it sees as one run of words have no penalty, whatever the module.
@pytest.mark.parametrize(
    "candidate, reference, score",
    [
        ("dog", "dog", 1.0),
        ("x y", "x y", 1.0),
        ("the x runs in the park near my big house", "the x runs in the park near my big house", 1.0),
        ("", "a dog", 0.0),
        ("a dog", "", 0.0),
        ("c b a", "a b c", 0.4),
        ("x y", "y x", 0.4),
        ("the of", "the of", 1.0),
        ("the", "the dog", 0.11267605633802819),
        ("run", "ran", 0.8),
        ("x car", "x automobile", 0.9),
        ("x dogs", "x dog", 0.8),
        ("million", "000", 0.6),
        ("to take part in", "to participate in", 0.7503526093088857),
        ("Hello, World.", "hello world", 0.38095238095238093),
        ("caf\u00e9", "caf\u00e9", 1.0),
        ("x|||", "x", 1.0),
    ],
)
def test_worked_numbers(small, candidate, reference, score):
    assert small.score([candidate], [[reference]]).items[0] == pytest.approx(score, abs=1e-9)


def test_uncertain_words_without_an_exact_match_score_zero(small):
    """A surprise of the original: two candidates for one stem or synonym, and neither is taken."""
    assert small.score(["ran ran"], [["run"]]).corpus == 0.0
    assert small.score(["ran x ran"], [["run x run"]]).items[0] > 0.8


# Seen of the program: candidate, reference, matched words (exact, stem, synonym) and chunks (a whole one is none).
@pytest.mark.parametrize(
    "candidate, reference, counts",
    [
        ("x z x", "x y x", [2, 0, 0, 2]),
        ("run y", "ran ran y", [1, 0, 1, 1]),
        ("ran run", "run run", [1, 0, 1, 0]),
        ("run ran run", "ran ran", [1, 0, 1, 1]),
        ("y ran run", "ran ran y", [2, 0, 1, 2]),
        ("x run run", "x x ran x", [1, 0, 1, 1]),
        ("ran x ran", "run x run", [1, 0, 2, 0]),
        ("run run z", "ran ran z", [1, 0, 2, 0]),
        ("ran ran y", "run y y ran", [2, 0, 1, 2]),
        ("dogs dog", "dog dog", [1, 1, 0, 0]),
        ("ran run", "run ran", [2, 0, 0, 2]),
        ("run run y y", "ran run y", [2, 0, 1, 1]),
    ],
)
def test_alignments_of_the_program(small, candidate, reference, counts):
    found = small.counts(candidate, reference)
    kinds = np.reshape(found[4:12], (4, 2)).sum(axis=1)
    assert [*kinds[:3], found[20]] == counts


def test_paraphrases_are_looked_up_both_ways_and_twice_is_uncertain(small):
    assert small.score(["000"], [["million"]]).corpus == small.score(["million"], [["000"]]).corpus == 0.6
    assert small.score(["big"], [["large"]]).corpus == 0.0  # two matches of the same words: neither is taken
    assert small.score(["big x"], [["large x"]]).items[0] == pytest.approx(0.8)  # except where it joins a chunk


def test_matches_that_are_not_exact_count_for_half_their_words_rounded_down():
    """Two words for two count 1 + 1, a word for a word 0 + 0, five for six 2 + 3, and an exact match 1 + 1."""
    pair, exact = Match(0, 2, 0, 2, PARAPHRASE), Match(1, 1, 1, 1, EXACT)
    assert align([exact, pair], 2, 2) == ((pair,), 1)  # equal: found first, at the earlier word
    single, other = Match(0, 1, 0, 1, PARAPHRASE), Match(0, 1, 2, 1, EXACT)
    assert align([other, single], 1, 3) == ((other,), 1)
    exact, phrase = [Match(place, 1, place, 1, EXACT) for place in range(3)], Match(0, 5, 0, 6, PARAPHRASE)
    assert align([*exact, phrase], 5, 6) == (tuple(exact), 1)  # 6 and 2 + 3
    assert align([*exact[:2], phrase], 5, 6) == ((phrase,), 1)


def test_the_best_reference_counts_and_the_corpus_is_no_mean(small):
    both = small.score(["a car x", "z"], [["q", "a car x"], ["z y"]])
    assert both.items[0] == 1.0
    assert both.items[1] == small.score(["z"], [["z y"]]).corpus
    assert both.corpus != pytest.approx(both.items.mean())


def test_corpus_figures_of_the_program(small):
    """A caption that is its reference adds no chunk; of references that score the same the first gives the counts."""
    whole, part, other = ("the dog runs", ["the dog runs"]), ("a z y x", ["a z q y x"]), ("dog", ["x y z", "x"])
    for pairs, figure in (
        ([whole, part], 0.4634588478863458),
        ([whole, other], 0.4635761589403974),
        ([whole, ("dog", ["x", "x y z"])], 0.7),
    ):
        assert small.score(*zip(*pairs)).corpus == pytest.approx(figure, abs=1e-9)


VOCABULARY = ["the", "a", "car", "automobile", "run", "ran", "dog", "dogs", "take", "part", "participate", "x"]
SENTENCES = st.lists(st.sampled_from(VOCABULARY), max_size=8)


@settings(max_examples=60, deadline=None)
@given(SENTENCES, st.lists(SENTENCES, min_size=1, max_size=3))
def test_range_perfection_and_order_of_references(small, words, others):
    text, group = " ".join(words), [" ".join(other) for other in others]
    score = small.score([text], [group])
    assert 0 <= score.corpus <= 1 and score.corpus == pytest.approx(score.items[0])
    assert small.score([text], [group[::-1]]).items[0] == pytest.approx(score.items[0], abs=1e-12)
    assert small.score([text], [[*group, text]]).items[0] == (1.0 if words else 0.0)
    assert small.score([""], [group]).corpus == 0.0


@pytest.mark.parametrize(
    "text, words",
    [
        ("A dog, running fast.", "a dog , running fast ."),
        ("don't do n't it's 1990's dogs'", "don 't do n 't it 's 1990 's dogs '"),
        ("U.S. Mr. Smith; No. 5 no. five word. The", "us mr. smith ; no. 5 no. five word . the"),
        ("1,000.50 a,b 10:30 50% 2 1/2", "1,000.50 a , b 10 : 30 50 % 2 1 / 2"),
        ("t-shirt a-b-c a -- b a---b -lrb-", "t shirt a b-c a - b a--b -lrb-"),
        (
            "\u201ccurly\u201d \u2018x\u2019 ``y'' caf\u00e9\u2013bar wait...",
            '" curly " \' x \' " y " caf\u00e9 - bar wait ...',
        ),
        ("\u65e5\u672c <unk> a_b", "\u65e5 \u672c < unk > a _ b"),
        (" \t ", ""),
    ],
)
def test_words_as_the_program_sees_them(text, words):
    assert normalise(text, PREFIXES) == words.split()


def test_soda_takes_the_order_of_starts_and_the_best_annotator(small):
    """Predictions listed last to first; one annotator has both events as they are told, the other one of three."""
    said = [{"timestamp": [5, 9], "sentence": "x runs"}, {"timestamp": [0, 4], "sentence": "big dog"}]
    same = {"timestamps": [[0, 4], [5, 9]], "sentences": ["big dog", "x runs"]}
    less = {"timestamps": [[0, 4], [5, 9], [9, 10]], "sentences": ["big dog", "q", "z"]}
    references = [{"a": same, "b": less, "c": less}, {"a": less}]
    found = soda_c({"a": said, "b": said, "c": []}, references, small.score)
    assert found == pytest.approx([1.0, 2 * 0.5 * (1 / 3) / (0.5 + 1 / 3), 0.0], abs=1e-6)


def test_tables_hold_what_was_read(small):
    rows = small.tables.paraphrases.find(["take part", "participate", "take", ""])
    assert rows[2] == rows[3] == -1 and small.tables.longest == 2
    assert small.tables.paraphrases.values(rows[0]).tolist() == [rows[1]]
    assert small.tables.base_forms == {"ran": ["run"]}


def test_damaged_sources_are_told(tmp_path):
    sources = write_sources(tmp_path, [("a", "b")])
    sources[PARAPHRASES].write_bytes(gzip.compress(b"0.5\nonly a phrase\n"))
    with pytest.raises(InputError, match="in the middle of an entry"):
        build_tables(sources, tmp_path)
    sources[JAR].write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot be read"):
        build_tables(sources, tmp_path)


def test_missing_and_foreign_packages_are_told(tmp_path, monkeypatch):
    """Looked for in a folder that holds nothing, then one that holds another file under the name."""
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(MissingDependency, match=r"pip install 'whenwhere\[meteor\]'"):
        find_sources()
    about = tmp_path / "pycocoevalcap-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pycocoevalcap\nVersion: 1.2\n", encoding="utf-8")
    importlib.invalidate_caches()
    with pytest.raises(InputError, match="missing"):
        find_sources()
    (tmp_path / JAR).parent.mkdir(parents=True)
    (tmp_path / JAR).write_bytes(b"x")
    with pytest.raises(InputError, match="another file"):
        find_sources()


def test_a_broken_cache_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("WHENWHERE_CACHE", str(tmp_path))
    (tmp_path / "meteor" / f"en-{meteor_tables.FORMAT}").mkdir(parents=True)
    with pytest.raises(InputError, match="delete that folder"):
        meteor_tables.language_tables()


@pytest.fixture(scope="session")
def installed() -> None:
    """The tables of the package, read into the user's cache if they are not there yet."""
    for module in ("pycocoevalcap", "snowballstemmer"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["human_vs_human", "degenerate_150"])
def test_recorded_figures(shared_data, installed, name):
    recorded = json.loads((shared_data / "scorers" / "captions" / f"{name}.json").read_text(encoding="utf-8"))
    texts = [item["candidate"] for item in recorded["items"]]
    scores = captions(texts, [item["references"] for item in recorded["items"]], with_meteor=True)
    np.testing.assert_allclose(scores.items["METEOR"], recorded["per_image"]["METEOR"], rtol=0, atol=1e-9)
    assert scores.corpus["METEOR"] == pytest.approx(recorded["corpus"]["METEOR"], abs=1e-9)


@pytest.mark.slow
def test_recorded_dense_figures(shared_data, installed):
    """The letters of unmatched predictions are drawn anew, and METEOR counts them."""
    folder = shared_data / "scorers" / "dense_captions"
    truth, guess, figures = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("gt", "pred", "expected")
    )
    found = dense_captions(guess["results"], [truth], pair_scores=meteor_pair_scores).figures()
    assert found["METEOR"] == pytest.approx(figures["METEOR"], abs=NEEDED)
    assert soda_c(guess["results"], [truth], meteor).mean() == pytest.approx(figures["soda_c"], abs=1e-6)


@pytest.mark.slow
def test_the_java_program(shared_data, installed):
    """500 pairs of human captions of the same image, and of another."""
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    from pycocoevalcap.meteor.meteor import Meteor

    with gzip.open(shared_data / "text" / "coco_captions.jsonl.gz", "rt", encoding="utf-8") as lines:
        images = [[tokenize(text) for text in json.loads(line)["captions"]] for line in lines]
    draw = random.Random(0)
    groups = draw.sample(images, 500)
    said = [group[0] if index % 2 else draw.choice(images)[0] for index, group in enumerate(groups)]
    wanted = [group[1:] for group in groups]
    theirs = Meteor()
    corpus, items = theirs.compute_score(dict(enumerate(wanted)), {index: [text] for index, text in enumerate(said)})
    ours = meteor(said, wanted)
    np.testing.assert_allclose(ours.items, items, rtol=0, atol=1e-9)
    assert ours.corpus == pytest.approx(corpus, abs=1e-9)
