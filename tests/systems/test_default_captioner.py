"""The captioner that ships: real weights, real photographs."""

from __future__ import annotations

import pytest

from whenwhere.media import read_image
from whenwhere.metrics.captions import captions
from whenwhere.metrics.retrieval import recall_at_k
from whenwhere.recipes.coco_mini import read_split
from whenwhere.recipes.image_captioner import FOLDER
from whenwhere.systems.image_captioner import ImageCaptioner

pytestmark = [pytest.mark.models, pytest.mark.slow]


def test_it_reaches_its_floor_on_coco_images_it_never_saw(shared_data):
    data = read_split(shared_data, "val")
    captioner = ImageCaptioner.load(FOLDER)
    places = captioner.space.embed_images([read_image(path) for path in data.paths], batch=4)
    said = [caption.text for caption in captioner.caption_places(places)]
    assert captions(said, data.captions).corpus["CIDEr"] > 0.45

    texts = [text for group in data.captions for text in group]
    owner = [i for i, group in enumerate(data.captions) for _ in group]
    found = recall_at_k((captioner.space.embed_texts(texts) @ places.T).numpy(), owner)
    assert found.recall[1] > 0.40 and found.recall[5] > 0.78 and found.recall[10] > 0.88
