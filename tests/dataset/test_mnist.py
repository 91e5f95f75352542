"""MnistDataset on good, damaged and hostile idx files."""

import gzip
import os
import struct

import numpy as np
import pytest
from image_files import check_rows, check_shuffled_by_default, message

from graphrt import dataset as ds
from graphrt.errors import ArgumentError, DataError


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def digits(count, start=0):
    images = (np.arange(count * 6) + start).astype(np.uint8).reshape(count, 2, 3)
    return images, np.arange(count).astype(np.uint8)


def write(folder, prefix, count=5, ending="", start=0):
    images, labels = digits(count, start)
    opener = gzip.open if ending == ".gz" else open
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        with opener(folder / f"{prefix}-{name}-ubyte{ending}", "wb") as file:
            file.write(idx(array))


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_reads_plain_and_compressed_files(tmp_path, ending):
    write(tmp_path, "train", ending=ending)
    dataset = ds.MnistDataset(tmp_path, shuffle=False)
    images, labels = digits(5)
    check_rows(dataset, images[..., None], labels)


def test_usage(tmp_path):
    write(tmp_path, "t10k", count=2)
    assert len(ds.MnistDataset(str(tmp_path))) == 2  # the folder holds only one part
    with pytest.raises(DataError, match="lacks the train"):
        ds.MnistDataset(tmp_path, "train")
    write(tmp_path, "train", count=5)
    sizes = {usage: len(ds.MnistDataset(tmp_path, usage)) for usage in (None, "all", "train", "test")}
    assert sizes == {None: 7, "all": 7, "train": 5, "test": 2}
    with pytest.raises(ArgumentError, match="unknown usage"):
        ds.MnistDataset(tmp_path, "valid")


def test_shuffled_by_default(tmp_path):
    write(tmp_path, "train", count=30)
    check_shuffled_by_default(ds.MnistDataset, tmp_path, np.arange(30))


def test_unknown_folder_exact_message(tmp_path):
    folder = str(tmp_path / "nowhere")
    with pytest.raises(DataError) as caught:
        ds.MnistDataset(folder)
    assert message(caught) == (
        f"MnistDataset: there is no folder {folder!r}\n"
        "  expected: a folder with train-images-idx3-ubyte and train-labels-idx1-ubyte, "
        "or the same with t10k (each may end with .gz)\n"
        "  given:    a path that does not exist\n"
        "  fix:      check the path"
    )


def test_relative_folder_says_where_it_was_looked_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"looked up from {os.getcwd()}"):
        ds.MnistDataset("nowhere")


def test_truncated_file_exact_message(tmp_path):
    write(tmp_path, "train")
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError) as caught:
        ds.MnistDataset(tmp_path)
    assert message(caught) == (
        f"the idx file {path} is truncated\n"
        "  expected: 30 bytes after the header for [5, 2, 3]\n"
        "  given:    20 bytes\n"
        "  fix:      download the file again"
    )


def damage(data, how):
    if how == "empty":
        return b""
    if how == "header only in part":
        return data[:9]
    if how == "wrong magic":
        return b"\x00\x00\x0d\x03" + data[4:]
    if how == "huge extents":
        return data[:4] + b"\xff" * 12 + data[16:]
    if how == "no images":
        return data[:4] + bytes(12)
    if how == "too long":
        return data + b"x"
    raise AssertionError(how)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("empty", "truncated in its header"),
        ("header only in part", "truncated in its header"),
        ("wrong magic", "not an idx file of this kind"),
        ("huge extents", "is truncated"),
        ("no images", "numbers of images and labels differ"),
        ("too long", "longer than its header says"),
    ],
)
def test_damaged_files(tmp_path, how, words, ending):
    write(tmp_path, "train", ending=ending)
    path = tmp_path / f"train-images-idx3-ubyte{ending}"
    data = gzip.decompress(path.read_bytes()) if ending else path.read_bytes()
    data = damage(data, how)
    path.write_bytes(gzip.compress(data) if ending else data)
    with pytest.raises(DataError, match=words):
        ds.MnistDataset(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 12, 30, -4])
def test_truncated_compressed_files(tmp_path, keep):
    write(tmp_path, "train", ending=".gz", count=50)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"truncated|gzip"):
        ds.MnistDataset(tmp_path)


def test_flipped_bits_in_compressed_files_are_noticed(tmp_path):
    write(tmp_path, "train", ending=".gz", count=50)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    original = path.read_bytes()
    good = ds.MnistDataset(tmp_path, shuffle=False)._table().columns["image"].copy()
    for position in range(0, len(original), 7):
        changed = bytearray(original)
        changed[position] ^= 0x10
        path.write_bytes(bytes(changed))
        try:
            read = ds.MnistDataset(tmp_path, shuffle=False)._table().columns["image"]
        except DataError:
            continue
        assert np.array_equal(read, good)  # bits that do not matter (file name, time stamp)


def test_not_gzip_at_all(tmp_path):
    write(tmp_path, "train", ending=".gz")
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(b"<html>404</html>" * 10)
    with pytest.raises(DataError, match="not a valid gzip file"):
        ds.MnistDataset(tmp_path)


def test_counts_must_agree_and_images_must_exist(tmp_path):
    write(tmp_path, "train")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(4, np.uint8)))
    with pytest.raises(DataError, match="numbers of images and labels differ"):
        ds.MnistDataset(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(0, np.uint8)))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((0, 2, 3), np.uint8)))
    with pytest.raises(DataError, match="is empty"):
        ds.MnistDataset(tmp_path)


def test_folder_without_mnist_files(tmp_path):
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(DataError, match="holds no MNIST files"):
        ds.MnistDataset(tmp_path)
    with pytest.raises(DataError, match="a file"):
        ds.MnistDataset(tmp_path / "readme.txt")


def test_fashion_mnist_reads_the_same_files_under_its_own_name(tmp_path):
    write(tmp_path, "train", ending=".gz")
    data = ds.FashionMnistDataset(tmp_path, "train", shuffle=False, num_shards=2, shard_id=1)
    assert [int(label) for _, label in data] == [1, 3, 0] and len(data) == 3
    with pytest.raises(DataError, match=r"FashionMnistDataset: .* lacks the test images"):
        ds.FashionMnistDataset(tmp_path, "test")
    with pytest.raises(DataError, match="FashionMnistDataset: there is no folder"):
        ds.FashionMnistDataset(tmp_path / "nowhere")
    with pytest.raises(ArgumentError, match="cache is not supported"):
        ds.MnistDataset(tmp_path, cache=object())
