"""Every transform: one sample, a batch and the traced form agree; values follow the definition."""

import numpy as np
import pytest

import graphrt
from graphrt import dataset as ds
from graphrt.errors import ArgumentError, DataError, DTypeError, ShapeError
from graphrt.frontend.trace import trace

transforms, vision = ds.transforms, ds.vision
Inter = vision.Inter


def images(*shape, dtype=np.uint8):
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, shape).astype(dtype)


CASES = [
    (vision.Rescale(1 / 255, -0.5), images(3, 4, 5, 1)),
    (vision.Rescale(2.0, 0.0), images(3, dtype=np.float64)),
    (vision.Normalize((0.1, 0.2, 0.3), (1.0, 2.0, 3.0)), images(2, 4, 5, 3)),
    (vision.Normalize((0.1, 0.2, 0.3), (1.0, 2.0, 3.0), is_hwc=False), images(2, 3, 4, 5)),
    (vision.Normalize((0.5,), (0.25,)), images(2, 4, 5, dtype=np.float32)),
    (vision.ToTensor(), images(2, 4, 5, 3)),
    (vision.ToTensor(), images(2, 4, 5)),
    (vision.HWC2CHW(), images(2, 4, 5, 3)),
    (vision.HWC2CHW(), images(2, 4, 5)),
    (vision.Pad(2), images(2, 4, 5, 3)),
    (vision.Pad((1, 2), fill_value=7), images(2, 4, 5)),
    (vision.Pad((0, 1, 2, 3), fill_value=255), images(2, 4, 5, 1)),
    (vision.Pad(0), images(2, 4, 5, 1)),
    (vision.Resize((8, 10)), images(2, 4, 5, 3)),
    (vision.Resize((8, 8)), images(2, 4, 4, dtype=np.float32)),
    (vision.Resize((2, 3)), images(2, 8, 12, 1, dtype=np.float32)),
    (vision.Resize((7, 3), Inter.NEAREST), images(2, 4, 5, 2)),
    (vision.Resize(6), images(2, 4, 8, 1)),
    (transforms.TypeCast(graphrt.int32), np.arange(5, dtype=np.uint32)),
    (transforms.TypeCast(graphrt.float32), images(2, 3)),
    (transforms.OneHot(5), np.array([0, 4, 2], np.int32)),
    (transforms.OneHot(5), np.array([[0], [4]], np.uint32)),
    (transforms.OneHot(4, 0.1), np.array([0, 3], np.int32)),
]


@pytest.mark.parametrize(
    ("transform", "batch"), CASES, ids=[f"{t!r}-{b.dtype}{list(b.shape)}" for t, b in CASES]
)
def test_sample_batch_and_traced_forms_agree(transform, batch):
    expected = transform.batch(batch)
    samples = np.stack([transform(sample) for sample in batch])
    assert samples.dtype == expected.dtype
    np.testing.assert_allclose(samples, expected, rtol=1e-6)
    traced = trace(transform.symbolic, (graphrt.Tensor(batch),)).run_reference([batch]).asnumpy()
    assert traced.dtype == expected.dtype and traced.shape == expected.shape
    np.testing.assert_allclose(traced, expected, rtol=1e-6, atol=1e-6)


def test_values():
    assert vision.Rescale(0.5, 1.0)(np.uint8(4)) == 3.0
    assert vision.Normalize([1.0], [2.0])(np.full((1, 1, 1), 5, np.uint8)).item() == 2.0
    assert vision.ToTensor()(np.full((1, 1), 255, np.uint8)).tolist() == [[[1.0]]]
    assert vision.Pad((1, 0), 9)(np.zeros((1, 1), np.uint8)).tolist() == [[9, 0, 9]]
    assert transforms.OneHot(3)(np.int32(1)).tolist() == [0, 1, 0]
    np.testing.assert_allclose(transforms.OneHot(2, 0.2)(np.int32(1)), [0.1, 0.9])
    assert transforms.Compose([vision.Rescale(2.0, 0.0), lambda x: x + 1])(np.uint8(3)) == 7.0


def test_bilinear_resize_interpolates_between_pixel_centres():
    row = np.array([[0, 4]], np.float32)
    assert vision.Resize((1, 4))(row).tolist() == [[0.0, 1.0, 3.0, 4.0]]
    assert vision.Resize((1, 4))(row.astype(np.uint8)).tolist() == [[0, 1, 3, 4]]
    assert vision.Resize((1, 1))(row).tolist() == [[2.0]]
    assert vision.Resize((1, 4), Inter.NEAREST)(row).tolist() == [[0.0, 0.0, 4.0, 4.0]]
    constant = np.full((5, 7, 3), 200, np.uint8)
    assert (vision.Resize((11, 3))(constant) == 200).all()
    assert vision.Resize(4)(np.zeros((2, 3))).shape == (4, 6) and vision.Resize(4)(
        np.zeros((3, 2))
    ).shape == (6, 4)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: vision.Normalize((0.0,), (0.0,)), ArgumentError, "positive"),
        (lambda: vision.Normalize((0.0,), (1.0, 2.0)), ArgumentError, "one value per channel"),
        (lambda: vision.Normalize((0, 0), (1, 1))(np.zeros((2, 2, 3))), ShapeError, "number of channels"),
        (lambda: vision.HWC2CHW()(np.zeros(3)), ShapeError, "needs images"),
        (lambda: vision.Resize((0, 3)), ArgumentError, "Resize size"),
        (lambda: vision.Resize((3, 3), 7), ArgumentError, "interpolation"),
        (lambda: vision.Pad((1, 2, 3)), ArgumentError, "Pad padding"),
        (lambda: vision.Pad(1, padding_mode="reflect"), ArgumentError, "padding_mode"),
        (lambda: transforms.OneHot(0), ArgumentError, "num_classes"),
        (lambda: transforms.OneHot(3)(np.int32(3)), DataError, "out of range"),
        (lambda: transforms.OneHot(3)(np.float32(1)), DTypeError, "integer labels"),
        (lambda: transforms.TypeCast("complex64"), DTypeError, "unknown element type"),
    ],
)
def test_wrong_use_is_explained(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_names_of_release_1_1():
    import graphrt.dataset.transforms.c_transforms as CT
    import graphrt.dataset.vision.c_transforms as CV
    from graphrt.dataset.vision import Inter

    assert CV.Resize((32, 32), interpolation=Inter.LINEAR) == vision.Resize((32, 32), Inter.BILINEAR)
    assert CT.TypeCast(graphrt.int32) == transforms.TypeCast(data_type=graphrt.int32)
    assert CV.HWC2CHW is vision.HWC2CHW and CV.Rescale is vision.Rescale
