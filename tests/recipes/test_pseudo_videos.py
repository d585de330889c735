"""Videos made of captions: what they show is what their events say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from whenwhere.backbones.space import Bridge, BridgeConfig, BridgeMaps
from whenwhere.errors import InputError
from whenwhere.layers.vocab import Vocab
from whenwhere.recipes.image_captioner import CaptionPairs, plain, prepare
from whenwhere.recipes.pseudo_videos import PseudoVideoConfig, PseudoVideos, collate, read_structures
from whenwhere.systems.frame_encoder import FrameEncoder, FrameEncoderConfig

GROUPS = [
    ["A cat sleeps.", "a cat on the mat"],
    ["A dog runs.", "the dog runs on"],
    ["A bird sings.", "a bird on a zebra"],
    ['"Two cats."', "two cats on a mat"],
]
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *["a", "the", "two", "cat", "cats", "dog", "bird", "sleeps", "runs", "sings", "on", "mat"],
]
QUIET = {"scene_noise": (0.0, 0.0), "frame_noise": (0.0, 0.0)}


@pytest.fixture
def captions():
    torch.manual_seed(0)
    return prepare(GROUPS, Vocab.wordpiece(PIECES, 8), F.normalize(torch.randn(8, 16), dim=-1), longest=5)


@pytest.fixture
def space():
    torch.manual_seed(1)
    maps = BridgeMaps(torch.eye(16), torch.randn(20, 16), torch.zeros(16), torch.zeros(20), torch.eye(16))
    return Bridge(BridgeConfig(), maps)


def videos(captions, space, **changes):
    config = PseudoVideoConfig(frames=40, rate=2.0, **changes)
    structures = [[(0.0, 9.0), (5.0, 30.0)], [(2.0, 4.0)]]
    return PseudoVideos(captions, space.place_texts(captions.features), structures, config), config


def test_captions_that_cannot_be_written_are_only_seen(captions):
    assert plain('"Two cats."') == "Two cats"
    written = [ids is not None for ids in captions.ids]
    assert written == [True, True, True, True, True, False, True, True]  # no word piece spells the zebra
    assert captions.owner.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_pairs_are_of_one_image_and_repeat_with_the_seed(captions, space):
    vocab = Vocab.wordpiece(PIECES, 8)
    pairs = CaptionPairs(captions, space.place_texts(captions.features), vocab)
    for index in range(len(pairs)):
        seen, owner, ids, _ = pairs.sample(np.random.default_rng(3), index)
        assert captions.owner[seen] == owner
        assert vocab.decode(ids) in [plain(text).lower() for text in GROUPS[owner]]
    draws = [pairs.sample(np.random.default_rng(3), 2) for _ in range(2)]
    assert draws[0] == draws[1]
    batch = pairs.collate([pairs.sample(np.random.default_rng(i), i % 4) for i in range(6)])
    assert batch.places.shape == (6, space.dim) and (batch.text[:, 0] == vocab.bos).all()


@pytest.mark.parametrize("seed", range(8))
def test_frames_of_an_event_lie_where_its_image_lies(captions, space, seed):
    made, config = videos(captions, space, shots=1.0, blank=0.0, **QUIET)
    video = made.sample(np.random.default_rng(seed), 0)
    places = space.place_texts(captions.features)
    for event in video.events:
        owner = next(i for i, texts in enumerate(GROUPS) if event.text in [plain(text) for text in texts])
        shown = [t for t in range(config.frames) if event.start <= t / config.rate < event.end]
        for t in shown:
            nearest = int((places @ video.places[t]).argmax())
            assert captions.owner[nearest] == owner == video.exclude[t]


def test_shots_follow_each_other_without_a_gap(captions, space):
    made, config = videos(captions, space, shots=1.0, blank=0.0)
    events = made.sample(np.random.default_rng(0), 0).events
    assert events[0].start == 0.0 and events[-1].end >= config.seconds
    assert all(a.end == b.start for a, b in zip(events, events[1:]))
    assert all(a.text != b.text for a, b in zip(events, events[1:]))


def test_annotated_times_are_scaled_and_stay_in_the_video(captions, space):
    made, config = videos(captions, space, shots=0.0, blank=0.0)
    for seed in range(50):
        for event in made.sample(np.random.default_rng(seed), 0).events:
            assert 0 <= event.start < config.seconds
            assert event.end - event.start >= config.least_seconds - 1e-9


def test_a_sample_is_a_function_of_its_random_state(captions, space):
    made, _ = videos(captions, space)
    first, second = (made.sample(np.random.default_rng(5), index) for index in (0, 7))
    assert torch.equal(first.places, second.places) and first.events == second.events


def test_batches_hide_the_own_row_of_the_bank(captions, space):
    made, config = videos(captions, space, shots=1.0, blank=0.0, **QUIET)
    rows = torch.zeros(4, 16).index_add_(0, captions.owner, captions.features)
    encoder = FrameEncoder(FrameEncoderConfig(bank_rows=4, bank_width=16, temperatures=(0.01,)), space, rows)
    batch = collate(encoder, config, [made.sample(np.random.default_rng(i), 0) for i in range(3)])
    assert batch.tokens.shape == (3, 40, 1, 16)
    own = encoder.bank.values[made.sample(np.random.default_rng(0), 0).exclude]
    assert (batch.tokens[0, :, 0] * own).sum(-1).max() < 0.99


def test_real_structures_are_read(shared_data):
    structures = read_structures(shared_data)
    assert len(structures) > 2000
    assert all(0 <= start < end for spans in structures for start, end in spans)


def test_missing_structures_name_the_option(tmp_path):
    with pytest.raises(InputError, match="--shared"):
        read_structures(tmp_path)
