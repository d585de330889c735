"""Well-known sets read by name from tiny files in their published form, and what else lies there refused by name."""

from __future__ import annotations

import gzip
import pickle
import struct
import sys

import numpy as np
import pytest

from whenwhere.datasets.labelled_files import read_labelled, repeated
from whenwhere.errors import InputError, MissingDependency

CIFAR10 = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"


def _record(*labels, seed):
    """Bytes of a CIFAR record, and its picture: the red plane, the green one, the blue one, each row by row."""
    picture = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    planes = [picture[:, :, channel].tobytes() for channel in range(3)]
    return bytes(labels) + b"".join(planes), picture


def _cifar10(folder):
    folder.mkdir(parents=True)
    pictures = {}
    for name, labels in {**{f"data_batch_{n}": (3, 5) for n in range(1, 6)}, "test_batch": (5, 3)}.items():
        records = [_record(label, seed=[*name.encode(), at]) for at, label in enumerate(labels)]
        (folder / f"{name}.bin").write_bytes(b"".join(record for record, _ in records))
        pictures[name] = [picture for _, picture in records]
    (folder / "batches.meta.txt").write_text(CIFAR10)
    return pictures


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin"])
def test_cifar_10(tmp_path, inside):
    pictures = _cifar10(tmp_path / "c" / inside if inside else tmp_path / "c")
    data = read_labelled(f"cifar10:{tmp_path / 'c'}")
    assert data.source == f"cifar10:{tmp_path / 'c'}" and data.classes == ("cat", "dog") and data.notes == ()
    assert [len(data.of(split)) for split in ("train", "val", "test")] == [10, 0, 2]
    first, second = data.of("test")
    assert (first.label, second.label) == ("dog", "cat") and not data.has_videos
    assert np.array_equal(second.pictures()[0], pictures["test_batch"][1])
    assert len(first.pictures(3)) == 3 and first.name.endswith("test_batch.bin!0")
    assert len({example.hash() for example in data.examples}) == 12
    assert not repeated((example.hash(), example) for example in data.examples)


def test_cifar_10_without_all_of_its_files(tmp_path):
    pictures = _cifar10(tmp_path / "c")
    for name in ("batches.meta.txt", "data_batch_2.bin"):
        (tmp_path / "c" / name).unlink()
    data = read_labelled(f"cifar10:{tmp_path / 'c'}")
    assert data.classes == ("3", "5") and len(data.examples) == 10
    assert "by their numbers" in data.notes[0] and data.notes[1] == "4 of 5 training files are there"
    before = data.examples[0].hash()
    swapped = _record(3, seed=1)[0] + _record(5, seed=2)[0]
    (tmp_path / "c" / "data_batch_1.bin").write_bytes(swapped)
    assert data.examples[0].hash() != before  # a file that changed is read anew
    assert not np.array_equal(data.examples[0].pictures()[0], pictures["data_batch_1"][0])


def test_cifar_100_has_fine_labels(tmp_path):
    (tmp_path / "cifar-100-binary").mkdir()
    for split in ("train", "test"):
        records = [_record(19, fine, seed=fine)[0] for fine in (0, 1)]
        (tmp_path / "cifar-100-binary" / f"{split}.bin").write_bytes(b"".join(records))
    (tmp_path / "cifar-100-binary" / "fine_label_names.txt").write_text("apple\naquarium_fish\n")
    data = read_labelled(f"cifar100:{tmp_path}")
    assert data.classes == ("apple", "aquarium_fish")
    assert np.array_equal(data.of("train")[1].pictures()[0], _record(seed=1)[1])
    assert len(repeated((example.hash(), example) for example in data.examples)) == 2


def _idx(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def _mnist(folder, pack=lambda content: content, end=""):
    folder.mkdir(parents=True)
    images = {}
    for start, count in (("train", 6), ("t10k", 3)):
        images[start] = np.random.default_rng(count).integers(0, 256, (count, 5, 4), dtype=np.uint8)
        (folder / f"{start}-images-idx3-ubyte{end}").write_bytes(pack(_idx(images[start])))
        (folder / f"{start}-labels-idx1-ubyte{end}").write_bytes(pack(_idx(np.arange(count, dtype=np.uint8) % 3)))
    return images


@pytest.mark.parametrize(("inside", "packed"), [("", False), ("MNIST/raw", True)])
def test_mnist_packed_or_not(tmp_path, inside, packed):
    images = _mnist(tmp_path / "m" / inside, *((gzip.compress, ".gz") if packed else ()))
    data = read_labelled(f"mnist:{tmp_path / 'm'}")
    assert data.classes == ("0", "1", "2") and [len(data.of(split)) for split in ("train", "test")] == [6, 3]
    assert [example.label for example in data.of("train")] == list("012012")
    (picture,) = data.of("test")[2].pictures()
    assert picture.shape == (5, 4, 3) and (picture == images["t10k"][2][:, :, None]).all()


def test_the_digits_of_scikit_learn(monkeypatch):
    sklearn = pytest.importorskip("sklearn.datasets")
    data = read_labelled("digits")
    assert data.classes == tuple("0123456789") and len(data.examples) == 1797
    assert len(data.of("test")) == 355 and "one in 5 of each class, are held out" in data.notes[0]
    (picture,) = data.examples[3].pictures()
    found = sklearn.load_digits()
    assert data.examples[3].label == str(found.target[3])
    assert (picture[..., 0] == np.rint(found.images[3] * 255 / 16)).all() and picture.max() == 239  # 15 of 16

    from whenwhere.datasets import named_sets

    named_sets._digits.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingDependency, match="scikit-learn, which is not installed"):
        read_labelled("digits")


def test_a_folder_of_that_name_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    with pytest.raises(InputError, match="holds no picture"):
        read_labelled("digits")


class Trap:
    """A pickle that would tell if it were read."""

    def __reduce__(self):
        return exec, ("raise SystemExit('read')",)


@pytest.mark.parametrize("name", ["cifar-10-batches-py", ""])
def test_the_pickles_of_cifar_are_refused_and_not_read(tmp_path, name):
    place = tmp_path / "c" / name if name else tmp_path / "c"
    place.mkdir(parents=True)
    for file in ("data_batch_1", "test_batch", "train"):
        (place / file).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match=r"Python version of CIFAR, pickle.*binary version \(cifar-10-batches-bin"):
        read_labelled(f"cifar10:{tmp_path / 'c'}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("imagenet:x", "no reader 'imagenet'.*one of digits, cifar10:FOLDER, cifar100:FOLDER, mnist:FOLDER"),
        ("cifar11", "cifar11 does not exist.*one of digits, cifar10:FOLDER"),
        ("cifar10", "cifar10 without the folder that holds it; expected cifar10:FOLDER"),
        ("mnist:", "mnist without the folder"),
        ("mnist:nowhere", "nowhere is no folder"),
        ("mnist:.", "has no train-images-idx3-ubyte"),
        ("cifar10:.", "has no test_batch.bin; expected the unpacked binary version"),
        ("cifar100:.", "has no train.bin"),
    ],
)
def test_unknown_names_and_folders_without_files(tmp_path, monkeypatch, text, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=told):
        read_labelled(text)


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("c/data_batch_1.bin", bytes(3000), "data_batch_1.bin has 3,000 bytes; expected records of 3073 bytes"),
        ("c/test_batch.bin", b"", "test_batch.bin has 0 bytes"),
        ("c/test_batch.bin", _record(200, seed=0)[0], "test_batch.bin, picture 0: class 200; expected 0 to 9"),
        ("m/train-images-idx3-ubyte", b"\x89PNG\r\n", "begins with 89 50 4e 47; expected 00 00 08 03"),
        ("m/train-images-idx3-ubyte", _idx(np.zeros((6, 5, 4), np.uint8))[:-1], "says 6 x 5 x 4 and has 119 bytes"),
        ("m/t10k-labels-idx1-ubyte", _idx(np.zeros(4, np.uint8)), "has 3 pictures; expected 4, as t10k-labels"),
        ("m/t10k-labels-idx1-ubyte", b"", "begins with ;"),
    ],
)
def test_damaged_files_are_told_by_name(tmp_path, file, content, told):
    _cifar10(tmp_path / "c"), _mnist(tmp_path / "m")
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match=told):
        read_labelled(f"{'cifar10' if file[0] == 'c' else 'mnist'}:{tmp_path / file[0]}")


def test_a_damaged_gzip_file_is_told_by_name(tmp_path):
    _mnist(tmp_path / "m", gzip.compress, ".gz")
    file = tmp_path / "m" / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:30])
    with pytest.raises(InputError, match="t10k-images-idx3-ubyte.gz cannot be read"):
        read_labelled(f"mnist:{tmp_path / 'm'}")
