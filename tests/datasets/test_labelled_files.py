"""A folder of class folders, ZIP files and tables read as a person lays them out, and refused by name where bad."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from whenwhere.datasets.labelled_files import read_labelled, repeated
from whenwhere.errors import InputError
from whenwhere.media import read_image, write_image, write_video


def _picture(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((4, 6, 3), shade, np.uint8))
    return path


def _classes(root, per_class=5, classes=("cat", "dog")):
    for at, name in enumerate(classes):
        for number in range(per_class):
            _picture(root / name / f"{number}.png", 20 * number + at)
    return root


def test_class_folders_get_a_fixed_split_that_is_told(tmp_path):
    data = read_labelled(_classes(tmp_path / "a", 10))
    assert data.classes == ("cat", "dog") and len(data.examples) == 20
    assert [len(data.of(split)) for split in ("train", "val", "test")] == [16, 0, 4]
    assert sorted(e.label for e in data.of("test")) == ["cat", "cat", "dog", "dog"]
    assert "4 of 20" in data.notes[0]
    moved = read_labelled((tmp_path / "a").rename(tmp_path / "b"))
    assert [e.path.name for e in moved.of("test")] == [e.path.name for e in data.of("test")]
    assert list(data.labels(data.of("test"))) == [0, 0, 1, 1]


@pytest.mark.parametrize("column", ["image", "video", "clip", "path"])
def test_the_file_column_of_a_table_has_several_names(tmp_path, column):
    for name in ("a.png", "b.png"):
        _picture(tmp_path / name, 9)
    (tmp_path / "t.csv").write_text(f"label,{column},split\ncat,a.png,train\ndog,b.png,train\n")
    (tmp_path / "t.jsonl").write_text(json.dumps({column: "a.png", "label": "cat"}) + "\n")
    data = read_labelled(tmp_path / "t.csv")
    assert [(e.path.name, e.label) for e in data.examples] == [("a.png", "cat"), ("b.png", "dog")]
    assert read_labelled(tmp_path / "t.jsonl", labelled=False).examples[0].path.name == "a.png"
    (tmp_path / "t.csv").write_text(f"label,{column},image\ncat,a.png,b.png\n")
    if column != "image":
        with pytest.raises(InputError, match=f"line 2 has image and {column}; expected one file"):
            read_labelled(tmp_path / "t.csv")


def test_folders_of_splits_and_what_is_passed_over(tmp_path):
    _classes(tmp_path / "training"), _classes(tmp_path / "Valid", 1), _classes(tmp_path / "eval", 2)
    (tmp_path / "training" / "cat" / "notes.txt").write_text("x")
    (tmp_path / "training" / ".hidden").mkdir()
    _picture(tmp_path / "training" / ".hidden" / "x.png", 1)
    data = read_labelled(tmp_path)
    assert [len(data.of(split)) for split in ("train", "val", "test")] == [10, 2, 4]
    assert data.notes == ("1 file passed over (.txt)",)


def test_zip_files_are_read_without_unpacking(tmp_path):
    _classes(tmp_path / "raw" / "train"), _classes(tmp_path / "raw" / "test", 2)
    for split in ("train", "test"):
        with zipfile.ZipFile(tmp_path / f"{split}.zip", "w") as archive:
            for file in sorted((tmp_path / "raw" / split).rglob("*.png")):
                archive.write(file, file.relative_to(tmp_path / "raw"))
    folder = tmp_path / "zips"
    folder.mkdir()
    for split in ("train", "test"):
        (tmp_path / f"{split}.zip").rename(folder / f"{split}.zip")
    data, plain = read_labelled(folder), read_labelled(tmp_path / "raw")
    assert [(e.split, e.label) for e in data.of("train")] == [(e.split, e.label) for e in plain.of("train")]
    for packed, file in zip(data.of("train"), plain.of("train")):
        assert packed.hash() == file.hash()
        assert np.array_equal(packed.pictures()[0], read_image(file.path))
    one = read_labelled(folder / "train.zip")  # one folder around it all, and a split made
    assert one.classes == ("cat", "dog") and len(one.of("train")) == 8


@pytest.mark.parametrize("form", ["csv", "jsonl", "tsv"])
def test_tables_name_files_relative_to_themselves(tmp_path, form):
    _classes(tmp_path / "pictures", 3)
    rows = [
        {"image": f"pictures/{name}/{number}.png", "label": name, "split": "test" if number == 2 else "train"}
        for name in ("dog", "cat")
        for number in range(3)
    ]
    table = tmp_path / f"set.{form}"
    mark = "\t" if form == "tsv" else ","
    lines = [json.dumps(row) for row in rows]
    if form != "jsonl":
        lines = [mark.join(rows[0]), *(mark.join(row.values()) for row in rows)]
    table.write_text("\n".join(lines) + "\n")
    data = read_labelled(table)
    assert data.classes == ("cat", "dog") and len(data.of("train")) == 4 and len(data.of("test")) == 2
    assert data.examples[0].label == "dog"  # the table's order stays


def test_classes_that_are_numbers_are_in_the_order_of_numbers(tmp_path):
    assert read_labelled(_classes(tmp_path, 2, ("10", "9", "2"))).classes == ("2", "9", "10")


def test_a_clip_gives_its_frames_and_an_image_repeats(tmp_path):
    frames = [np.full((32, 32, 3), 40 * i, np.uint8) for i in range(6)]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / "clip.mp4", iter(frames), rate=6)
        write_video(tmp_path / name / "other.mp4", iter(frames), rate=6)
    data = read_labelled(tmp_path)
    assert data.has_videos
    shades = [float(picture.mean()) for picture in data.examples[0].pictures(3)]
    assert len(shades) == 3 and shades == sorted(shades) and shades[2] > shades[0] + 50
    assert len(data.examples[0].pictures(9)) == 9


def test_the_same_picture_in_two_splits_is_found(tmp_path):
    _classes(tmp_path / "train"), _classes(tmp_path / "test", 1)
    data = read_labelled(tmp_path)
    pairs = repeated((example.hash(), example) for example in data.examples)
    assert len(pairs) == 2 and {a.split for pair in pairs for a in pair} == {"train", "test"}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: None, "does not exist"),
        (lambda d: d.mkdir(), "no picture or video; expected files such as .jpg, .png, .webp, .mp4, .mov, .mkv"),
        (lambda d: _classes(d, 2, ("only",)), r"one class \(only\)"),
        (lambda d: _picture(d / "a.png", 1), "no class folders"),
        (lambda d: (_classes(d / "train"), _picture(d / "test" / "emu" / "1.png", 3)), "no training example of emu"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused(tmp_path, make, words):
    make(tmp_path / "data")
    with pytest.raises(InputError, match=words):
        read_labelled(tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "image,label\na.png,cat\nb.png\n", "line 3 has another number of fields"),
        ("a.csv", "image,label\na.png,\n", "line 2 has no 'label'"),
        (
            "a.csv",
            "file,label\na.png,cat\n",
            "line 1 has the columns 'file', 'label'; expected .*image .* label .*split.$",
        ),
        (
            "a.csv",
            "image;label\na.png;cat\n",
            "line 1 has the column 'image;label'.*semicolons stand .* put commas there",
        ),
        ("a.csv", "image\tlabel\na.png\tcat\n", "tabs stand between the columns; put commas there"),
        ("a.tsv", "image,label\na.png,cat\n", "commas stand between the columns; put tabs there"),
        ("a.csv", "image,label\n,cat\n", "line 2 has no 'image'"),
        ("a.csv", "image,label\nz.png,cat\n", "line 2: .*z.png does not exist"),
        ("a.csv", "image,label,split\na.png,cat,half\n", "line 2: split 'half'"),
        ("a.csv", "image,label,split\na.png,cat,train\na.png,dog,\n", "line 3 has no split"),
        ("a.csv", "image,label\n", "no lines"),
        ("a.jsonl", '{"image": "a.png", "label": "cat"}\n{"image": 3\n', "line 2: not JSON"),
        ("a.jsonl", '{"image": "a.png"}\n', "line 1 has no 'label'"),
        ("a.zip", "not a zip", "not a ZIP file"),
        ("a.txt", "x", "neither a folder nor a table"),
    ],
)
def test_bad_tables_are_named_by_file_and_line(tmp_path, name, text, words):
    _picture(tmp_path / "a.png", 1)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        read_labelled(tmp_path / name)


def test_a_damaged_member_of_a_zip_is_an_error_with_its_name(tmp_path):
    _classes(tmp_path / "raw")
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted((tmp_path / "raw").rglob("*.png")):
            archive.write(file, file.relative_to(tmp_path / "raw"))
    data = bytearray(packed.read_bytes())
    at = data.index(b"IDAT") + 6
    data[at : at + 4] = b"\0\0\0\0"
    packed.write_bytes(data)
    example = read_labelled(packed).examples[0]
    with pytest.raises(InputError, match=r"set.zip!cat/0.png cannot be read"):
        example.pictures()


def test_a_stray_picture_does_not_make_classes_of_splits(tmp_path):
    _classes(tmp_path / "train"), _classes(tmp_path / "test", 2)
    _picture(tmp_path / "overview.png", 3), _picture(tmp_path / "train" / "sheet.png", 3)
    data = read_labelled(tmp_path)
    assert data.classes == ("cat", "dog") and len(data.of("train")) == 10 and len(data.of("test")) == 4
    assert data.notes == ("2 pictures outside of a class folder passed over (such as overview.png)",)
    _picture(tmp_path / "extras" / "cat" / "1.png", 3)
    with pytest.raises(InputError, match="extras/cat/1.png lies beside folders of splits"):
        read_labelled(tmp_path)


def test_zip_files_may_be_the_splits_and_are_told_where_they_are_not_read(tmp_path):
    for split, count in (("train", 5), ("test", 2)):
        _classes(tmp_path / "raw" / split, count)
        (tmp_path / "zips").mkdir(exist_ok=True)
        with zipfile.ZipFile(tmp_path / "zips" / f"{split}.zip", "w") as archive:
            for file in sorted((tmp_path / "raw" / split).rglob("*.png")):
                archive.write(file, file.relative_to(tmp_path / "raw" / split))
    data = read_labelled(tmp_path / "zips")
    assert [len(data.of(split)) for split in ("train", "val", "test")] == [10, 0, 4] and data.notes == ()
    (tmp_path / "zips" / "train.zip").rename(tmp_path / "raw" / "more.zip")
    assert read_labelled(tmp_path / "raw").notes == ("1 .zip file passed over, as there are pictures beside",)
