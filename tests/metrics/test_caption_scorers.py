"""CIDEr, BLEU and ROUGE-L: recorded figures, the public package where it is installed, and what must hold anyway."""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whenwhere.errors import InputError
from whenwhere.metrics.bleu import bleu
from whenwhere.metrics.captions import captions, main
from whenwhere.metrics.cider import CiderScorer, cider, document_frequencies
from whenwhere.metrics.rouge import longest_common_subsequence, rouge_l

TOLERANCE = 1e-6
WORDS = ["a", "the", "man", "dog", "red", "ball", "throws", "catches", "in", "park"]

sentences = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
items = st.lists(st.tuples(sentences, st.lists(sentences, min_size=1, max_size=4)), min_size=1, max_size=6)


def made_up(number: int, seed: int = 0) -> tuple[list[str], list[list[str]]]:
    draw = random.Random(seed)

    def sentence() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(0, 14)))

    return [sentence() for _ in range(number)], [[sentence() for _ in range(draw.randint(1, 5))] for _ in range(number)]


@pytest.fixture(params=["human_vs_human", "degenerate_150"])
def recorded(request, shared_data) -> dict:
    return json.loads((shared_data / "scorers" / "captions" / f"{request.param}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("metric", ["CIDEr", "ROUGE_L", "Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4"])
def test_recorded_figures(recorded, metric):
    """From the raw text, so that tokeniser and scorer are held together."""
    texts = [item["candidate"] for item in recorded["items"]]
    scores = captions(texts, [item["references"] for item in recorded["items"]])
    assert scores.corpus[metric] == pytest.approx(recorded["corpus"][metric], abs=TOLERANCE)
    np.testing.assert_allclose(scores.items[metric], recorded["per_image"][metric], rtol=0, atol=TOLERANCE)


def test_recorded_figures_from_recorded_tokens(recorded):
    said = [item["tok_candidate"] for item in recorded["items"]]
    wanted = [item["tok_references"] for item in recorded["items"]]
    np.testing.assert_allclose(cider(said, wanted).items, recorded["per_image"]["CIDEr"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(rouge_l(said, wanted).items, recorded["per_image"]["ROUGE_L"], rtol=0, atol=TOLERANCE)
    figures = np.stack([recorded["per_image"][f"Bleu_{order}"] for order in range(1, 5)], axis=1)
    np.testing.assert_allclose(bleu(said, wanted).items, figures, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("number, seed", [(1, 0), (2, 1), (40, 2), (40, 3)])
def test_public_package(number, seed):
    """The figures of pycocoevalcap on captions with repeated words, empty captions and one to five references."""
    theirs = pytest.importorskip("pycocoevalcap.cider.cider").Cider()
    rouge = pytest.importorskip("pycocoevalcap.rouge.rouge").Rouge()
    precision = pytest.importorskip("pycocoevalcap.bleu.bleu").Bleu(4)
    said, wanted = made_up(number, seed)
    results = {index: [text] for index, text in enumerate(said)}
    truths = dict(enumerate(wanted))

    corpus, per_item = theirs.compute_score(truths, results)
    ours = cider(said, wanted)
    assert ours.corpus == pytest.approx(corpus, abs=TOLERANCE)
    np.testing.assert_allclose(ours.items, per_item, rtol=0, atol=TOLERANCE)

    corpus, per_item = rouge.compute_score(truths, results)
    ours = rouge_l(said, wanted)
    assert ours.corpus == pytest.approx(corpus, abs=TOLERANCE)
    np.testing.assert_allclose(ours.items, per_item, rtol=0, atol=TOLERANCE)

    with contextlib.redirect_stdout(io.StringIO()):
        corpus, per_item = precision.compute_score(truths, results, verbose=0)
    np.testing.assert_allclose(bleu(said, wanted).corpus, corpus, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(bleu(said, wanted).items, np.transpose(per_item), rtol=0, atol=TOLERANCE)


def slow_cider(candidate: str, references: list[str], frequencies: dict, documents: float, clipped: bool) -> float:
    """The definition, written down once more without arrays."""

    def weights(text: str, order: int) -> dict:
        words = text.split()
        grams = Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))
        return {
            gram: count * (math.log(documents) - math.log(max(1, frequencies.get(gram, 0))))
            for gram, count in grams.items()
        }

    total = 0.0
    for reference in references:
        for order in range(1, 5):
            left, right = weights(candidate, order), weights(reference, order)
            length = math.sqrt(sum(value**2 for value in left.values()) * sum(value**2 for value in right.values()))
            product = sum(
                (min(value, right[gram]) if clipped else value) * right[gram]
                for gram, value in left.items()
                if gram in right
            )
            cosine = product / length if length else 0.0
            if clipped:
                pairs = max(0, len(candidate.split()) - 1) - max(0, len(reference.split()) - 1)
                cosine *= math.exp(-(pairs**2) / 72)
            total += cosine / 4
    return 10 * total / len(references)


@pytest.mark.parametrize("variant", ["CIDEr-D", "CIDEr"])
def test_both_variants_follow_their_definition(variant):
    said, wanted = made_up(15, seed=5)
    found = cider(said, wanted, variant=variant).items
    frequencies = document_frequencies(wanted)
    expected = [
        slow_cider(text, group, frequencies, len(wanted), variant == "CIDEr-D") for text, group in zip(said, wanted)
    ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert found.max() > 0.5


def test_given_frequencies_replace_counted_ones():
    said, wanted = made_up(12, seed=6)
    counted = cider(said, wanted).items
    given = document_frequencies(wanted)
    np.testing.assert_allclose(cider(said, wanted, frequencies=given, documents=12).items, counted, atol=1e-12)
    # of a larger corpus: one item scored alone gets what the definition says, not 0
    alone = cider(said[:1], wanted[:1], frequencies=given, documents=500).items
    np.testing.assert_allclose(alone, [slow_cider(said[0], wanted[0], given, 500, True)], atol=1e-9)
    assert alone[0] > 0


def test_one_document_scores_zero():
    assert cider(["a red ball"], [["a red ball"]]).corpus == 0.0


def test_saying_what_people_said_scores_ten():
    texts = ["a man throws a red ball", "two dogs sleep under the old table"]
    assert cider(texts, [[text] for text in texts]).items == pytest.approx([10.0, 10.0])


def test_scorer_gives_the_same_for_every_call():
    said, wanted = made_up(20, seed=8)
    scorer = CiderScorer(wanted)
    first = scorer.score(said)
    scorer.similarity(["a word nobody used", *said], ["another", *said])
    assert scorer.score(said).items.tolist() == first.items.tolist() == cider(said, wanted).items.tolist()


def test_similarity_is_the_score_without_the_mean():
    said, wanted = made_up(9, seed=9)
    scorer = CiderScorer(wanted)
    table = scorer.similarity(said)
    ends = np.cumsum([len(group) for group in wanted])
    means = [table[row, end - len(wanted[row]) : end].mean() for row, end in enumerate(ends)]
    np.testing.assert_allclose(means, scorer.score(said).items, atol=1e-12)
    flat = [text for group in wanted for text in group]
    np.testing.assert_allclose(scorer.similarity(said, flat), table, atol=1e-12)


def test_similarity_counts_words_no_reference_has():
    """New words weigh as much as the rarest, on both sides, in every block."""
    wanted = [["a dog"], ["a man"], ["the park"]]
    table = CiderScorer(wanted).similarity(["zebra crossing here now", "a dog"], ["zebra crossing here now", "a dog"])
    assert table[0, 0] == pytest.approx(10.0)
    assert table[1, 1] == pytest.approx(5.0)  # two of the four orders exist
    assert table[0, 1] == table[1, 0] == 0.0


def test_blocks_do_not_show(monkeypatch):
    said, wanted = made_up(12, seed=10)
    scorer = CiderScorer(wanted)
    whole, scores = scorer.similarity(said), scorer.score(said).items
    monkeypatch.setattr("whenwhere.metrics.cider._BLOCK", 7)
    np.testing.assert_allclose(scorer.similarity(said), whole, atol=1e-12)
    np.testing.assert_allclose(scorer.score(said).items, scores, atol=1e-12)


def test_consensus_prefers_what_many_say():
    wanted = [["a man throws a ball"], ["a dog runs in the park"], ["two cats sleep"]]
    scorer = CiderScorer(wanted)
    candidates = ["a man throws a ball", "a dog runs in the park"]
    witnesses = ["a dog runs in a park", "the dog runs in the park", "a man throws a ball"]
    assert scorer.consensus(candidates, witnesses).argmax() == 1
    assert scorer.consensus(candidates, witnesses, [0.0, 0.1, 5.0]).argmax() == 0
    table = scorer.similarity(candidates, witnesses)
    np.testing.assert_allclose(scorer.consensus(candidates, witnesses, [1, 2, 1]), table @ [0.25, 0.5, 0.25])


def test_empty_captions_score_zero():
    said, wanted = ["", "a dog"], [["a dog", ""], ["", "a dog"]]
    assert cider(said, wanted).items[0] == 0.0
    assert bleu(said, wanted).items[0].tolist() == pytest.approx([0.0] * 4)
    assert rouge_l(["a"], [[""]]).corpus == 0.0


@settings(max_examples=30, deadline=None)
@given(items)
def test_figures_stay_in_range(records):
    said, wanted = [item[0] for item in records], [item[1] for item in records]
    figures = np.concatenate(
        [
            cider(said, wanted).items / 10,
            cider(said, wanted, variant="CIDEr").items / 10,
            rouge_l(said, wanted).items,
            bleu(said, wanted).items.ravel(),
        ]
    )
    assert np.isfinite(figures).all()
    assert figures.min() >= 0 and figures.max() <= 1 + 1e-5  # BLEU's guards can lift an empty precision above 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_longest_common_subsequence(left, right):
    table = np.zeros((len(left) + 1, len(right) + 1), dtype=int)
    for i, j in np.ndindex(len(left), len(right)):
        table[i + 1, j + 1] = table[i, j] + 1 if left[i] == right[j] else max(table[i, j + 1], table[i + 1, j])
    assert longest_common_subsequence(left, right) == table[-1, -1]


@pytest.mark.parametrize("score", [cider, bleu, rouge_l, captions])
@pytest.mark.parametrize(
    "said, wanted, told",
    [
        (["a", "b"], [["a"], []], "item 1 without references"),
        (["a", "b"], [["a"], ["b", None]], "item 1, reference 1: None"),
        (["a", 7], [["a"], ["b"]], "candidate 1: 7"),
        (["a", "b"], [["a"], "b"], "item 1, reference: one string 'b'"),
        (["a"], [["a"], ["b"]], "1 candidates and 2 reference sets"),
        ("a", [["a"]], "candidate: one string"),
        ([], [], "no items"),
    ],
)
def test_names_the_bad_record(score, said, wanted, told):
    with pytest.raises(InputError) as error:
        score(said, wanted)
    assert told in str(error.value)


@pytest.mark.parametrize(
    "options, told",
    [
        ({"frequencies": {("a",): 3}}, "without documents"),
        ({"documents": 3}, "without frequencies"),
        ({"frequencies": {("a",): 9}, "documents": 3}, "9 of 3 documents"),
        ({"frequencies": {"a dog": 1}, "documents": 3}, "'a dog'"),
        ({"variant": "cider"}, "'cider'"),
    ],
)
def test_names_the_bad_option(options, told):
    with pytest.raises(InputError) as error:
        CiderScorer([["a dog"]], **options)
    assert told in str(error.value)


def test_scorer_names_bad_candidates_and_weights():
    scorer = CiderScorer([["a dog"], ["a man"]])
    with pytest.raises(InputError, match="1 candidates for 2 items"):
        scorer.score(["a dog"])
    with pytest.raises(InputError, match="reference 1: None"):
        scorer.similarity(["a"], ["a", None])
    for weights in ([1.0], [0.0, 0.0], [1.0, -1.0], [1.0, math.nan]):
        with pytest.raises(InputError, match="for 2 references"):
            scorer.consensus(["a"], weights=weights)


def test_file_scorer(tmp_path, capsys):
    file = tmp_path / "captions.jsonl"
    records = [
        {"candidate": "A man throws a ball.", "references": ["A man is throwing a ball", "The man throws it."]},
        {"candidate": "Two cats.", "references": ["Two cats sleep on the sofa"]},
    ]
    file.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    assert main([str(file)]) == 0
    scores = captions([record["candidate"] for record in records], [record["references"] for record in records])
    assert json.loads(capsys.readouterr().out) == scores.corpus

    file.write_text('{"candidate": "A man."}\n', encoding="utf-8")
    assert main([str(file)]) == 2
    assert "record 0" in capsys.readouterr().err
    assert main([]) == 2
    assert main([str(tmp_path / "absent.jsonl")]) == 2


def test_runs_as_a_module_without_torch():
    code = "import sys, whenwhere.metrics.captions, whenwhere.metrics.dense_captions; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
