"""ImageFolderDataset: classes, decoding, sizes, damaged files."""

import numpy as np
import pytest

import graphrt
from graphrt import dataset as ds
from graphrt.errors import ArgumentError, DataError

image_module = pytest.importorskip("PIL.Image")


def picture(seed, height=4, width=5):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """cats: 3 images (one in a folder of its own), dogs: 2, and a file that is no image."""
    places = ["cats/a.png", "cats/b.PNG", "cats/more/c.bmp", "dogs/a.png", "dogs/b.png"]
    for seed, place in enumerate(places):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        image_module.fromarray(picture(seed, 4 + seed)).save(path)
    (tmp_path / "dogs" / "notes.txt").write_text("good ones")
    (tmp_path / "readme.txt").write_text("hello")
    return tmp_path


def test_decoded_images_and_their_classes(folder):
    data = ds.ImageFolderDataset(folder, shuffle=False, decode=True)
    rows = list(data.create_dict_iterator(output_numpy=True))
    for seed, row in enumerate(rows):
        assert np.array_equal(row["image"], picture(seed, 4 + seed)) and row["label"].dtype == np.int32
    assert [int(row["label"]) for row in rows] == [0, 0, 0, 1, 1]
    assert len(data) == 5 and data.num_classes() == 2
    assert data.get_class_indexing() == {"cats": 0, "dogs": 1}


def test_bytes_are_decoded_by_a_transform(folder):
    data = ds.ImageFolderDataset(str(folder), shuffle=False)
    raw = next(iter(data.create_tuple_iterator(output_numpy=True)))[0]
    assert raw.dtype == np.uint8 and raw.ndim == 1 and raw.tobytes() == (folder / "cats/a.png").read_bytes()
    chain = [ds.vision.Decode(), ds.vision.Resize((6, 6)), ds.vision.HWC2CHW()]
    batches = list(
        data.map(chain, "image", num_parallel_workers=2).batch(2).create_tuple_iterator(output_numpy=True)
    )
    assert [images.shape for images, _ in batches] == [(2, 3, 6, 6), (2, 3, 6, 6), (1, 3, 6, 6)]
    assert np.array_equal(batches[0][0][1], ds.vision.Resize((6, 6))(picture(1, 5)).transpose(2, 0, 1))


def test_selection(folder):
    graphrt.set_seed(0)
    shuffled = ds.ImageFolderDataset(folder, decode=True, num_parallel_workers=3)
    first = [image.shape[0] for image, _ in shuffled.create_tuple_iterator(output_numpy=True)]
    assert sorted(first) == [4, 5, 6, 7, 8] != first
    some = ds.ImageFolderDataset(folder, class_indexing={"dogs": 7}, extensions=[".PNG"], shuffle=False)
    assert [int(label) for _, label in some] == [7, 7]
    assert len(ds.ImageFolderDataset(folder, num_shards=2, shard_id=0)) == 3
    assert len(ds.ImageFolderDataset(folder, num_samples=2)) == 2
    train, valid = ds.ImageFolderDataset(folder, decode=True).split([3, 2])
    assert (len(list(train)), len(list(valid))) == (3, 2)


def test_a_damaged_image_exact_message(folder):
    path = folder / "cats" / "a.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError) as caught:
        list(ds.ImageFolderDataset(folder, shuffle=False, decode=True))
    assert "test_image_folder.py:" in caught.value.at
    assert str(caught.value).startswith(
        f"{path} is not a readable image\n  at:       {caught.value.at}\n  given:    "
    )
    assert str(caught.value).endswith("\n  fix:      remove or replace the file")


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda f: ds.ImageFolderDataset(f / "nowhere"), DataError, "there is no folder"),
        (lambda f: ds.ImageFolderDataset(f / "dogs"), DataError, "holds no images(.|\n)*notes.txt"),
        (lambda f: ds.ImageFolderDataset(f, class_indexing={"cows": 0}), DataError, "no class 'cows'"),
        (lambda f: ds.ImageFolderDataset(f, decrypt=len), ArgumentError, "decrypt is not supported"),
        (lambda f: ds.ImageFolderDataset(f, cache=1), ArgumentError, "cache is not supported"),
        (lambda f: ds.vision.Decode()(np.zeros(9, np.uint8)), DataError, "not a readable image"),
    ],
)
def test_wrong_use_is_explained(folder, make, error, words):
    with pytest.raises(error, match=words):
        make(folder)


def test_training_on_a_folder(folder):
    from graphrt import Model, nn

    graphrt.set_seed(0)
    chain = [ds.vision.Resize((4, 4)), ds.vision.Rescale(1 / 255, 0.0)]
    data = ds.ImageFolderDataset(folder, decode=True).map(chain, "image").batch(5)
    network = nn.SequentialCell([nn.Flatten(), nn.Dense(48, 2)])
    model = Model(network, nn.CrossEntropyLoss(), nn.SGD(network.trainable_params(), 0.1), {"accuracy"})
    losses = model.train(60, data).losses
    assert losses[-1] < losses[0] / 2 and model.eval(data)["accuracy"] == 1.0
