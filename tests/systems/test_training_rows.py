"""From annotated videos to rows of ids."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from whenwhere.errors import InputError
from whenwhere.layers.vocab import Vocab
from whenwhere.results import Event
from whenwhere.systems.decoding_points import DecodingPoints, TimeAxis
from whenwhere.systems.training_rows import VideoBatch, prefix_ids, training_rows

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "dog", "runs", "sleeps"]
VOCAB = Vocab.wordpiece(PIECES, 64)
CLS, SEP, A, CAT, DOG, RUNS, SLEEPS = 2, 3, 4, 5, 6, 7, 8
AXIS = TimeAxis(frames=64, n_bins=64)
EVENTS = [Event(0, 10, "a cat"), Event(8, 30, "a dog"), Event(50, 90, "cat runs"), Event(0, 100, "dog sleeps")]
LIMITS = {"text_limit": 50, "prefix_limit": 50, "caption_limit": 10}


def batch(*events, seeds=None):
    n = len(events)
    return VideoBatch(torch.zeros(n, 64, 2, 3), events, [100.0] * n, seeds or list(range(n)))


def rows(videos, points=None, **limits):
    points = points or DecodingPoints(count=16, form="plain")
    return training_rows(videos, VOCAB, AXIS, points, **{**LIMITS, **limits})


def t(time_bin):
    return len(PIECES) + time_bin


def test_plain_rows_of_the_worked_example():
    found = rows(batch(EVENTS))
    assert found.video == (0, 0, 0, 0) and found.frame == (7, 19, 59, 63)
    assert found.ended == (False, False, False, True)
    assert found.prefix.tolist() == [
        [CLS, SEP, 0, 0, 0, 0, 0, 0],
        [CLS, A, CAT, SEP, 0, 0, 0, 0],
        [CLS, A, CAT, A, DOG, SEP, 0, 0],
        [CLS, A, CAT, A, DOG, CAT, RUNS, SEP],
    ]
    assert found.text.tolist() == [
        [CLS, t(0), t(48), A, CAT, SEP],
        [CLS, t(16), t(57), A, DOG, SEP],
        [CLS, t(33), t(59), CAT, RUNS, SEP],
        [CLS, t(0), t(63), DOG, SLEEPS, SEP],
    ]
    assert (found.words, found.times, len(found)) == (12, 8, 4)


def test_points_with_nothing_to_say_are_dropped_or_learned():
    silent = DecodingPoints(count=16, form="plain", train_empty=True)
    assert len(rows(batch(EVENTS, []), silent)) == 32
    quiet = rows(batch([]), silent)
    assert quiet.text.tolist() == [[CLS, SEP]] * 16 and quiet.prefix.tolist() == [[CLS, SEP]] * 16
    nothing = rows(batch([], []))
    assert len(nothing) == 0 and nothing.text.shape == (0, 0) and (nothing.words, nothing.times) == (0, 0)


def test_forms_of_the_prefix():
    config = DecodingPoints(count=16, form="plain", prefix="none")
    assert rows(batch(EVENTS), config).prefix.tolist() == [[CLS, SEP]] * 4
    timed = rows(batch(EVENTS), replace(config, prefix="timed"))
    assert timed.prefix[1].tolist()[:6] == [CLS, t(0), t(19), A, CAT, SEP]
    assert torch.equal(timed.text, rows(batch(EVENTS)).text)


def test_oldest_captions_leave_a_full_prefix_whole():
    assert prefix_ids([[A, CAT], [A, DOG], [CAT, RUNS]], VOCAB, 6) == [CLS, A, DOG, CAT, RUNS, SEP]
    assert prefix_ids([[A, CAT], [A, DOG], [CAT, RUNS]], VOCAB, 5) == [CLS, CAT, RUNS, SEP]
    assert prefix_ids([[A, CAT]], VOCAB, 3) == [CLS, SEP]
    assert rows(batch(EVENTS), prefix_limit=6).prefix[3].tolist() == [CLS, A, DOG, CAT, RUNS, SEP]


def test_long_texts_are_cut():
    (event,) = [Event(0, 100, "a cat " * 30)]
    assert rows(batch([event]), caption_limit=7).text.shape == (1, 1 + 2 + 7 + 1)
    cut = rows(batch([event]), caption_limit=100, text_limit=12)
    assert cut.text.shape == (1, 12) and SEP not in cut.text[0]


def test_seeds_decide_and_a_sample_is_a_part():
    config = DecodingPoints(count=16)
    two = rows(batch(EVENTS, EVENTS, seeds=[5, 6]), config)
    alone = rows(batch(EVENTS, seeds=[6]), config)
    mine = torch.tensor(two.video) == 1
    width = alone.text.shape[1]
    assert torch.equal(two.text[mine][:, :width], alone.text) and not two.text[mine][:, width:].any()
    few = rows(batch(EVENTS, EVENTS, seeds=[5, 6]), replace(config, sample=3))
    assert few.video == (0, 0, 0, 1, 1, 1) and set(few.frame[3:]) <= set(alone.frame)


def test_bad_batches_are_refused():
    with pytest.raises(InputError, match="rank|shape"):
        VideoBatch(torch.zeros(1, 64, 3), [[]], [1.0], [0])
    with pytest.raises(InputError, match="1, 2, 1 and 1 videos"):
        VideoBatch(torch.zeros(1, 64, 2, 3), [[], []], [1.0], [0])
