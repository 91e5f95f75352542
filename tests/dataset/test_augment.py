"""Random transforms: what they do to images, and that Python and the native step draw the same."""

import numpy as np
import pytest

import graphrt
from graphrt import Model, nn
from graphrt import dataset as ds
from graphrt.compiler import compile_graph
from graphrt.dataset.vision.resized_crop import window_sizes
from graphrt.errors import ArgumentError, ShapeError
from graphrt.frontend.trace import trace

vision = ds.vision


def images(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(1, 256, shape).astype(dtype)


def in_every_form(make, batch, times=1):
    """What the transform makes of `batch` so many times in a row: in Python, interpreted, natively, from one seed."""
    graphrt.set_seed(4)
    transform = make()
    results = [[transform.batch(batch) for _ in range(times)]]
    graphrt.set_seed(4)
    traced = trace(make().symbolic, (graphrt.Tensor(batch),))
    results.append([traced.run_reference([batch]).asnumpy() for _ in range(times)])
    graphrt.set_seed(4)
    traced = trace(make().symbolic, (graphrt.Tensor(batch),))
    executable = compile_graph(traced.graph)
    results.append([executable(batch, state=traced.state)[0].copy() for _ in range(times)])
    return results


CASES = [
    (lambda: vision.RandomCrop(6, padding=2), images(9, 6, 6, 3)),
    (lambda: vision.RandomCrop((3, 5)), images(4, 7, 5, 1)),
    (lambda: vision.RandomCrop((3, 5), (1, 2), fill_value=9), images(5, 7, 6)),
    (lambda: vision.RandomCrop(8, pad_if_needed=True, fill_value=2), images(5, 4, 12, 2)),
    (lambda: vision.RandomCrop(4, (0, 1, 2, 3)), images(3, 4, 4, 1, dtype=np.float32)),
    (lambda: vision.RandomHorizontalFlip(), images(20, 3, 4, 3)),
    (lambda: vision.RandomHorizontalFlip(0.3), images(20, 3, 5)),
    (lambda: vision.RandomVerticalFlip(0.3), images(20, 3, 5)),
    (lambda: vision.RandomCrop(6, 2, padding_mode="reflect"), images(5, 6, 6, 3)),
    (lambda: ds.transforms.RandomApply([vision.Invert(), vision.HorizontalFlip()], 0.4), images(20, 3, 4, 1)),
    (
        lambda: ds.transforms.RandomChoice([vision.Invert(), vision.VerticalFlip(), vision.RandomCrop(4)]),
        images(30, 4, 4, 1),
    ),
]


@pytest.mark.parametrize(("make", "batch"), CASES, ids=[f"{k}" for k in range(len(CASES))])
def test_python_interpreter_and_native_code_draw_the_same(make, batch):
    results = in_every_form(make, batch, times=3)
    for other in results[1:]:
        for expected, found in zip(results[0], other):
            assert found.dtype == expected.dtype == batch.dtype
            assert np.array_equal(found, expected)
    assert not np.array_equal(results[0][0], results[0][1])  # every batch draws anew


def test_colours_change_the_same_everywhere_and_stay_in_their_range():
    batch = images(6, 5, 4, 3)
    [expected], *others = in_every_form(lambda: vision.RandomColorAdjust(0.5, (0.2, 1.9), 0.8, 0.3), batch)
    for [found] in others:
        assert found.dtype == np.uint8
        assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    assert not np.array_equal(expected, batch)
    same = vision.RandomColorAdjust((1, 1), (1, 1))
    assert np.array_equal(same.batch(batch), batch)


@pytest.mark.parametrize("shape", [(40, 9, 12, 3), (40, 7, 5)])
def test_resized_windows_are_the_same_everywhere(shape):
    batch = images(*shape)
    [expected], *others = in_every_form(lambda: vision.RandomResizedCrop((6, 4), (0.2, 0.9)), batch)
    for [found] in others:
        assert found.dtype == np.uint8 and found.shape == (40, 6, 4, *shape[3:])
        difference = np.abs(found.astype(int) - expected.astype(int))
        assert difference.max() <= 1 and (difference > 0).mean() < 0.01


def test_a_resized_window_is_the_window_resized():
    """With one possible size, every result is Resize of one of the windows."""
    batch = images(30, 6, 8, 1)
    graphrt.set_seed(1)
    found = vision.RandomResizedCrop((5, 7), scale=(0.5, 0.5), ratio=(1.5, 1.5)).batch(batch)
    height, width = 4, 6  # round(sqrt(24 / 1.5)), round(sqrt(24 * 1.5))
    windows = [(y, x) for y in range(6 - height + 1) for x in range(8 - width + 1)]
    seen = set()
    for image, result in zip(batch, found):
        resized = [vision.Resize((5, 7))(image[y : y + height, x : x + width]) for y, x in windows]
        matches = [k for k, r in enumerate(resized) if np.abs(r.astype(int) - result.astype(int)).max() <= 1]
        assert matches
        seen.update(matches)
    assert len(seen) > len(windows) // 2


def test_sizes_of_windows_follow_scale_and_ratio():
    sizes = window_sizes(100, 80, (0.1, 0.6), (0.5, 2.0))
    shares, ratios = sizes.prod(1) / 8000, sizes[:, 1] / sizes[:, 0]
    assert 0.09 < shares.min() < 0.12 and 0.57 < shares.max() < 0.61
    assert 0.48 < ratios.min() < 0.53 and 1.8 < ratios.max() < 2.1
    assert (sizes <= (100, 80)).all()
    assert window_sizes(4, 100, (0.9, 1.0), (0.75, 4 / 3)).tolist() == [
        [4, 5]
    ]  # nothing fits: the largest allowed


def test_brightness_of_every_image_is_drawn_from_its_range():
    graphrt.set_seed(0)
    batch = np.full((2000, 1, 1, 1), 100, np.uint8)
    factors = vision.RandomColorAdjust((0.5, 1.5)).batch(batch).ravel() / 100
    assert 0.5 <= factors.min() < 0.52 and 1.48 < factors.max() <= 1.5
    assert abs(factors.mean() - 1.0) < 0.03


def test_every_choice_is_made_equally_often():
    graphrt.set_seed(0)
    batch = np.zeros((3000, 1), np.uint8)
    choices = [ds.transforms.Fill(k) for k in (1, 2, 3)]
    counts = np.bincount(ds.transforms.RandomChoice(choices).batch(batch).ravel(), minlength=4)
    assert counts[0] == 0 and (np.abs(counts[1:] - 1000) < 120).all()
    applied = ds.transforms.RandomApply(choices[:2], 0.25).batch(batch).ravel()
    assert set(applied) == {0, 2} and abs((applied == 2).mean() - 0.25) < 0.03


def test_every_image_is_cropped_at_its_own_place_and_every_place_occurs():
    height, width, padding = 5, 4, 1
    original = images(1, height, width, 3)
    batch = np.repeat(original, 600, axis=0)
    padded = np.pad(original[0], ((padding, padding), (padding, padding), (0, 0)))
    graphrt.set_seed(0)
    crops = vision.RandomCrop((4, 4), padding).batch(batch)
    places = {padded[y : y + 4, x : x + 4].tobytes(): (y, x) for y in range(4) for x in range(3)}
    counts = dict.fromkeys(places.values(), 0)
    for crop in crops:
        counts[places[crop.tobytes()]] += 1
    assert min(counts.values()) > 20 and max(counts.values()) < 90  # 50 each on average


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_the_part_of_mirrored_images(probability):
    batch = np.repeat(images(1, 2, 3, 1), 1000, axis=0)
    flipped = vision.RandomHorizontalFlip(probability).batch(batch)
    mirrored = np.all(flipped == batch[:, :, ::-1], axis=(1, 2, 3))
    assert np.array_equal(flipped[~mirrored], batch[~mirrored])
    assert abs(mirrored.mean() - probability) <= (0.06 if 0 < probability < 1 else 0)


def test_one_sample():
    image = images(4, 6, 3)
    assert vision.RandomCrop((2, 3))(image).shape == (2, 3, 3)
    assert np.array_equal(vision.RandomHorizontalFlip(1.0)(image), image[:, ::-1])


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: vision.RandomCrop(0), ArgumentError, "RandomCrop size"),
        (lambda: vision.RandomCrop(4, -1), ArgumentError, "padding"),
        (lambda: vision.RandomCrop(4, padding_mode="wrap"), ArgumentError, "padding_mode"),
        (lambda: vision.RandomCrop(5, 1).batch(images(2, 2, 9, 1)), ShapeError, "smaller than the window"),
        (lambda: vision.RandomCrop(2).batch(images(2, 9)), ShapeError, "needs images"),
        (lambda: vision.RandomHorizontalFlip(1.5), ArgumentError, "probability"),
        (lambda: vision.RandomResizedCrop(4, (0.5, 0.2)), ArgumentError, "unusable scale"),
        (lambda: vision.RandomResizedCrop(4, interpolation=vision.Inter.NEAREST), ArgumentError, "BILINEAR"),
        (lambda: vision.RandomHorizontalFlip(True), ArgumentError, "probability"),
        (lambda: vision.RandomHorizontalFlip().batch(images(2, 9)), ShapeError, "needs images"),
    ],
)
def test_wrong_use_is_explained(make, error, words):
    with pytest.raises(error, match=words):
        make()


def augmented(seed=1, batch_size=4):
    """10 images in batches, cropped and mirrored at random."""
    graphrt.set_seed(seed)
    changes = [vision.RandomCrop(4, 1), vision.RandomHorizontalFlip()]
    data = {"image": images(10, 4, 4, 3), "label": np.arange(10, dtype=np.int32)}
    dataset = ds.NumpySlicesDataset(data).map([*changes, vision.Rescale(1 / 255, 0.0)], "image")
    return dataset.batch(batch_size)


def test_random_transforms_stay_in_the_native_step():
    plan = ds.resident_plan(augmented())
    assert [type(t) for t in plan.transforms["image"]] == [
        vision.RandomCrop, vision.RandomHorizontalFlip, vision.Rescale,
    ]  # fmt: skip
    assert plan.columns["image"].dtype == np.uint8  # cropping keeps the size, but is not done once for all


class Checksum(nn.Cell):
    """A loss that tells batches apart: pixels weighted by their place."""

    def __init__(self):
        super().__init__()
        self.scale = graphrt.Parameter(np.ones((), np.float32))
        self.weights = np.random.default_rng(7).random((4, 4, 3)).astype(np.float32)

    def construct(self, image, label):
        return ((image * self.weights).sum((1, 2, 3)) * (label + 1)).mean() * self.scale


def train(dataset, epochs=6, **options):
    network = Checksum()
    return Model(network, None, nn.SGD([network.scale], 0.0)).train(epochs, dataset, **options).losses


@pytest.fixture(params=["native", "interpreter"])
def engine(request):
    with graphrt.set_context(engine=request.param):
        yield


def test_training_sees_the_images_that_iteration_gives(engine):
    losses = train(augmented(), epochs=2)
    weigh = Checksum()
    expected = []
    data = augmented()
    for _ in range(2):
        for image, label in data:
            expected.append(float(weigh(image, label).asnumpy()))
    assert len(losses) == len(expected) == 6
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert len(set(np.round(losses, 5).tolist())) == 6


def test_augmentation_does_not_depend_on_how_steps_are_cut_and_repeats_with_the_seed():
    whole = train(augmented(), 1, sink_size=9)
    assert train(augmented(), 9, sink_size=1).tobytes() == whole.tobytes()
    assert train(augmented(), 3).tobytes() == whole.tobytes()
    assert train(augmented(seed=2), 1, sink_size=9).tobytes() != whole.tobytes()


def test_two_pipelines_of_one_model_draw_from_their_own_streams():
    first, second = augmented(), augmented(seed=2)
    graphrt.set_seed(1)  # the order of the samples is the same for both
    network = Checksum()
    model = Model(network, None, nn.SGD([network.scale], 0.0))
    losses = [model.train(1, data).losses for data in (first, second)]
    assert losses[0].tobytes() != losses[1].tobytes()
    keys = [ds.resident_plan(data).transforms["image"][0]._key.asnumpy() for data in (first, second)]
    assert keys[0][0] != keys[1][0] and [int(key[1]) for key in keys] == [3, 3]


def test_user_functions_before_a_random_transform():
    data = ds.NumpySlicesDataset({"image": images(6, 4, 4, 3), "label": np.arange(6, dtype=np.int32)})
    data = data.map([lambda image: image // 2, vision.RandomHorizontalFlip()], "image")
    assert ds.resident_plan(data.batch(3)) is None
    rows = [image for image, _ in data.create_tuple_iterator(output_numpy=True)]
    assert len(rows) == 6 and rows[0].shape == (4, 4, 3)


def test_names_of_release_1_1():
    import graphrt.dataset.vision.c_transforms as CV

    assert CV.RandomCrop is vision.RandomCrop and CV.RandomHorizontalFlip is vision.RandomHorizontalFlip
