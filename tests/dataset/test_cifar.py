"""Cifar10Dataset on good, damaged and hostile files."""

import gzip

import numpy as np
import pytest
from image_files import check_rows, check_shuffled_by_default, message

from graphrt import dataset as ds
from graphrt.dataset import cifar
from graphrt.errors import ArgumentError, DataError

RECORD = 3073


def photographs(count, start=0):
    draw = np.random.default_rng(start)
    return draw.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8), (np.arange(count) + start) % 10


def write(folder, name, count=5, start=0):
    images, labels = photographs(count, start)
    planes = images.transpose(0, 3, 1, 2).reshape(count, -1)
    data = np.concatenate([labels[:, None].astype(np.uint8), planes], axis=1).tobytes()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_reads_plain_and_compressed_files(tmp_path, ending):
    write(tmp_path, f"data_batch_1.bin{ending}")
    dataset = ds.Cifar10Dataset(tmp_path, shuffle=False)
    images, labels = photographs(5)
    check_rows(dataset, images, labels)
    assert dataset._table().columns["image"].flags.c_contiguous


def test_usage(tmp_path):
    write(tmp_path, "test_batch.bin", count=2)
    assert len(ds.Cifar10Dataset(str(tmp_path))) == 2  # the folder holds only one part
    for usage in ("train", "all"):
        with pytest.raises(DataError, match="lacks the train images"):
            ds.Cifar10Dataset(tmp_path, usage)
    write(tmp_path, "data_batch_1.bin", count=5)
    write(tmp_path, "data_batch_3.bin.gz", count=4)
    sizes = {usage: len(ds.Cifar10Dataset(tmp_path, usage)) for usage in (None, "all", "train", "test")}
    assert sizes == {None: 11, "all": 11, "train": 9, "test": 2}
    with pytest.raises(ArgumentError, match="unknown usage"):
        ds.Cifar10Dataset(tmp_path, "valid")


def test_files_come_in_the_order_of_their_numbers_and_once(tmp_path):
    for number, ending in ((10, ""), (2, ""), (1, ".gz"), (2, ".gz")):
        write(tmp_path, f"data_batch_{number}.bin{ending}", count=1, start=number % 10)
    (tmp_path / "data_batch_3.bin.part").write_bytes(b"not finished")
    labels = ds.Cifar10Dataset(tmp_path, "train", shuffle=False)._table().columns["label"]
    assert labels.tolist() == [1, 2, 0]


def test_shuffled_by_default(tmp_path):
    write(tmp_path, "data_batch_1.bin", count=10)
    check_shuffled_by_default(ds.Cifar10Dataset, tmp_path, np.arange(10))


def test_unknown_folder_exact_message(tmp_path):
    folder = str(tmp_path / "nowhere")
    with pytest.raises(DataError) as caught:
        ds.Cifar10Dataset(folder)
    assert message(caught) == (
        f"Cifar10Dataset: there is no folder {folder!r}\n"
        "  expected: a folder with data_batch_1.bin, data_batch_2.bin, ... and test_batch.bin "
        "(each may end with .gz)\n"
        "  given:    a path that does not exist\n"
        "  fix:      check the path"
    )


def test_truncated_file_exact_message(tmp_path):
    write(tmp_path, "data_batch_1.bin")
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError) as caught:
        ds.Cifar10Dataset(tmp_path)
    assert message(caught) == (
        f"the CIFAR-10 file {path} is truncated\n"
        "  expected: whole records of 3073 bytes\n"
        "  given:    4 of them and 3063 bytes more\n"
        "  fix:      download the file again"
    )


def test_a_folder_without_its_files(tmp_path):
    (tmp_path / "readme.html").write_text("hello")
    with pytest.raises(DataError, match=r"holds no CIFAR-10 files(.|\n)*readme.html"):
        ds.Cifar10Dataset(tmp_path)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"<html>404</html>", "is truncated"),
        (bytes([10]) + bytes(RECORD - 1), "label 10 in record 0"),
        (bytes(RECORD) + bytes([0xFF]) * RECORD, "label 255 in record 1"),
        (bytes(RECORD + 1), "1 of them and 1 bytes more"),
    ],
)
def test_damaged_files(tmp_path, data, words, ending):
    (tmp_path / f"test_batch.bin{ending}").write_bytes(gzip.compress(data) if ending else data)
    with pytest.raises(DataError, match=words):
        ds.Cifar10Dataset(tmp_path, "test")


@pytest.mark.parametrize("keep", [0, 5, 12, 2000, -4])
def test_truncated_compressed_files(tmp_path, keep):
    write(tmp_path, "data_batch_1.bin.gz")
    path = tmp_path / "data_batch_1.bin.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"truncated|gzip|empty"):
        ds.Cifar10Dataset(tmp_path)


def test_not_gzip_at_all(tmp_path):
    (tmp_path / "test_batch.bin.gz").write_bytes(bytes(RECORD))
    with pytest.raises(DataError, match="not a valid gzip file"):
        ds.Cifar10Dataset(tmp_path)


def test_a_small_archive_that_unpacks_to_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "_MOST_RECORDS", 20)
    (tmp_path / "test_batch.bin.gz").write_bytes(gzip.compress(bytes(21 * RECORD)))
    with pytest.raises(DataError, match="too large"):
        ds.Cifar10Dataset(tmp_path)


def test_a_folder_in_place_of_a_file(tmp_path):
    (tmp_path / "test_batch.bin").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        ds.Cifar10Dataset(tmp_path)
