"""Every transform: one sample, a batch and the traced form agree; values follow the definition."""

import colorsys

import numpy as np
import pytest

import graphrt
from graphrt import dataset as ds
from graphrt.compiler import compile_graph
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
    (vision.ToTensor(np.float16), images(2, 4, 5, 3)),
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
    (vision.Resize((7, 3), Inter.CUBIC), images(2, 4, 5, 3)),
    (vision.Resize((3, 9), Inter.PILCUBIC), images(2, 7, 5)),
    (vision.Resize((3, 9), Inter.ANTIALIAS), images(2, 7, 5, dtype=np.float32)),
    (vision.Resize((3, 7), Inter.AREA), images(2, 7, 5, 1)),
    (vision.Pad((1, 2, 3, 0), padding_mode=vision.Border.EDGE), images(2, 4, 5, 3)),
    (vision.Pad(2, padding_mode="reflect"), images(2, 4, 5)),
    (vision.Pad((3, 1), padding_mode=vision.Border.SYMMETRIC), images(2, 4, 5, 1)),
    (vision.CenterCrop((3, 2)), images(2, 4, 5, 3)),
    (vision.CenterCrop(7), images(2, 4, 8)),
    (vision.Crop((1, 2), (3, 2)), images(2, 4, 5, 3)),
    (vision.HorizontalFlip(), images(2, 4, 5, 3)),
    (vision.VerticalFlip(), images(2, 4, 5)),
    (vision.Grayscale(), images(2, 4, 5, 3)),
    (vision.Grayscale(3), images(2, 4, 5, 3, dtype=np.float32) / np.float32(255)),
    (vision.Invert(), images(2, 4, 5)),
    (vision.AdjustBrightness(1.7), images(2, 4, 5, 3)),
    (vision.AdjustContrast(0.4), images(2, 4, 5, 3)),
    (vision.AdjustContrast(1.5), images(2, 4, 5, dtype=np.float32) / np.float32(255)),
    (vision.AdjustSaturation(1.8), images(2, 4, 5, 3)),
    (vision.AdjustHue(0.3), images(2, 4, 5, 3)),
    (vision.AdjustHue(-0.5), images(2, 4, 5, 3, dtype=np.float32) / np.float32(255)),
    (transforms.Fill(3), images(2, 4)),
    (transforms.Concatenate(0, [1, 2], np.array([9])), images(2, 3)),
    (transforms.PadEnd([3, None], 7), images(2, 2, 3)),
    (transforms.PadEnd([2, 5]), images(2, 4, 3, dtype=np.float32)),
    (vision.ToType(graphrt.float16), images(2, 3)),
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


def test_native_code_computes_what_python_computes():
    """All transforms in one native program."""

    def everything(**batches):
        return tuple(transform.symbolic(b) for (transform, _), b in zip(CASES, batches.values()))

    arguments = {f"batch{k}": graphrt.Tensor(batch) for k, (_, batch) in enumerate(CASES)}
    traced = trace(everything, (), arguments)
    found = compile_graph(traced.graph)(*(batch for _, batch in CASES), state=traced.state)
    for (transform, batch), native in zip(CASES, found):
        expected = transform.batch(batch)
        assert native.dtype == expected.dtype and native.shape == expected.shape, transform
        # a sum in another order may round the other way
        tolerance = 1 if expected.dtype == np.uint8 else 1e-6 * max(1.0, np.abs(expected).max())
        difference = np.abs(native.astype(np.float64) - expected.astype(np.float64))
        assert difference.max() <= tolerance, transform
        assert np.mean(difference > tolerance / 2) < 0.02, transform


def test_cubic_resize_agrees_with_numbers_of_torch():
    """torch.nn.functional.interpolate(mode="bicubic", align_corners=False), torch 2.13."""
    row = np.array([[0, 10, 40, 20, 5]], np.float32)
    expected = {
        3: [1.48149, 40.0, 8.6111],
        8: [-0.92834, 1.87561, 11.9574, 33.94836, 38.23151, 21.69403, 9.83215, 3.60748],
    }
    for size, values in expected.items():
        np.testing.assert_allclose(
            vision.Resize((1, size), Inter.BICUBIC)(row)[0], values, rtol=1e-5, atol=1e-4
        )


@pytest.mark.parametrize("size", [(3, 4), (13, 5), (5, 17), (9, 11)])
@pytest.mark.parametrize("inter", [Inter.PILCUBIC, Inter.ANTIALIAS])
def test_antialiased_resize_agrees_with_pillow(inter, size):
    image_module = pytest.importorskip("PIL.Image")
    method = {Inter.PILCUBIC: image_module.BICUBIC, Inter.ANTIALIAS: image_module.LANCZOS}[inter]
    image = images(9, 11)
    expected = np.asarray(image_module.fromarray(image.astype(np.float32)).resize(size[::-1], method))
    np.testing.assert_allclose(vision.Resize(size, inter)(image.astype(np.float32)), expected, atol=0.01)
    rounded = np.asarray(image_module.fromarray(image).resize(size[::-1], method)).astype(int)
    assert (
        np.abs(vision.Resize(size, inter)(image).astype(int) - rounded).max() <= 1
    )  # Pillow rounds after each axis


@pytest.mark.parametrize("size", [2, 3, 4, 7, 12])
def test_area_resize_is_the_mean_over_what_a_pixel_covers(size):
    row = images(1, 7, dtype=np.float32)
    fine = np.repeat(row[0], size)  # every output pixel covers 7 of these
    expected = fine.reshape(size, 7).astype(np.float64).mean(1)
    np.testing.assert_allclose(vision.Resize((1, size), Inter.AREA)(row)[0], expected, rtol=1e-5)


def test_values_of_crops_and_colours():
    image = np.arange(20, dtype=np.uint8).reshape(4, 5)
    assert vision.CenterCrop((2, 2))(image).tolist() == [[6, 7], [11, 12]]
    assert vision.CenterCrop((1, 8))(image).tolist() == [[0, 0, 5, 6, 7, 8, 9, 0]]
    assert vision.Crop((1, 2), 2)(image).tolist() == [[7, 8], [12, 13]]
    assert vision.HorizontalFlip()(image)[0].tolist() == [4, 3, 2, 1, 0]
    assert vision.VerticalFlip()(image)[0].tolist() == [15, 16, 17, 18, 19]
    assert vision.Pad((2, 0), padding_mode="reflect")(image)[0].tolist() == [2, 1, 0, 1, 2, 3, 4, 3, 2]
    colour = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert vision.Grayscale()(colour)[0, :, 0].tolist() == [76, 150, 29]
    assert vision.Invert()(image)[3, 4] == 236 and vision.AdjustBrightness(20.0)(image)[3, 4] == 255
    grey = np.array([[0, 100]], np.uint8)
    assert vision.AdjustContrast(0.0)(grey).tolist() == [[50, 50]]
    assert vision.AdjustContrast(2.0)(grey).tolist() == [[0, 150]]
    assert transforms.Concatenate(0, [1.0], [2.0])(np.zeros(1, np.float32)).tolist() == [1, 0, 2]
    assert transforms.PadEnd([3], 9)(np.array([1, 2])).tolist() == [1, 2, 9]


@pytest.mark.parametrize("turn", [-0.5, -0.21, 0.0, 1 / 3, 0.5])
def test_hue_agrees_with_colorsys(turn):
    pixels = images(1, 6, 7, 3)[0].astype(np.float64) / 255
    pixels[0, 0], pixels[0, 1], pixels[0, 2] = 0.4, (0.2, 0.7, 0.7), (1.0, 0.0, 1.0)
    expected = []
    for pixel in pixels.reshape(-1, 3):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        expected.append(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value))
    found = vision.AdjustHue(turn)(pixels.astype(np.float32))
    np.testing.assert_allclose(found.reshape(-1, 3), expected, atol=3e-6)


def test_pillow_images_between_transforms():
    pytest.importorskip("PIL")
    image = images(1, 6, 7, 3)[0]
    pillow = vision.ToPIL()(image)
    assert pillow.size == (7, 6) and np.array_equal(np.asarray(pillow), image)
    assert vision.ToPIL()(image[:, :, :1]).mode == "L"
    steps = [vision.ToPIL(), vision.CenterCrop(4), vision.ToPIL(), vision.ToTensor()]
    data = ds.NumpySlicesDataset(image[None], "image").map(steps, "image").batch(1)
    assert ds.resident_plan(data) is not None  # without the detours
    (batch,) = next(iter(data))
    expected = vision.ToTensor()(vision.CenterCrop(4)(image))
    assert np.array_equal(batch.asnumpy()[0], expected)
    turned = ds.NumpySlicesDataset(image[None], "image").map(
        [vision.ToPIL(), lambda pillow: pillow.transpose(2), vision.ToTensor()], "image"
    )
    assert np.array_equal(next(iter(turned))[0].asnumpy(), vision.ToTensor()(np.rot90(image)))


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
        (lambda: vision.ToTensor(np.int32), ArgumentError, "floating-point type"),
        (lambda: vision.Crop((3, 0), 2)(np.zeros((4, 4))), ShapeError, "reaches beyond"),
        (lambda: vision.Crop((1,), 2), ArgumentError, "Crop coordinates"),
        (lambda: vision.CenterCrop(0), ArgumentError, "CenterCrop size"),
        (lambda: vision.Grayscale(2), ArgumentError, "1 or 3"),
        (lambda: vision.Grayscale()(np.zeros((2, 2), np.uint8)), ShapeError, "colour images"),
        (lambda: vision.Invert()(np.zeros((2, 2), np.int32)), DTypeError, "uint8 images"),
        (lambda: vision.AdjustBrightness(-1), ArgumentError, "number >= 0"),
        (lambda: vision.RandomColorAdjust(hue=0.6), ArgumentError, "-0.5 .. 0.5"),
        (lambda: vision.AdjustHue(True), ArgumentError, "part of the colour circle"),
        (lambda: vision.AdjustHue(0.1)(np.zeros((2, 2), np.uint8)), ShapeError, "needs colour images"),
        (lambda: vision.ToPIL()(np.zeros((2, 2))), DataError, "images of bytes"),
        (lambda: vision.RandomColorAdjust((2, 1)), ArgumentError, "range of brightness"),
        (lambda: transforms.RandomApply([abs]), ArgumentError, "list of transforms"),
        (lambda: transforms.RandomChoice([]), ArgumentError, "list of transforms"),
        (lambda: transforms.RandomApply([vision.Pad(1)]).batch(images(1, 2, 2)), ShapeError, "changes shape"),
        (lambda: transforms.Concatenate(1), ArgumentError, "only vectors"),
        (lambda: transforms.Concatenate(0, [1])(np.zeros((2, 2))), ShapeError, "needs vectors"),
        (lambda: transforms.PadEnd([0]), ArgumentError, "positive ints"),
        (lambda: transforms.PadEnd([1])(np.zeros((2, 2))), ShapeError, "number of axes"),
        (lambda: vision.Pad((1, 2, 3)), ArgumentError, "Pad padding"),
        (lambda: vision.Pad(1, padding_mode="wrap"), ArgumentError, "padding_mode"),
        (lambda: transforms.OneHot(0), ArgumentError, "num_classes"),
        (lambda: transforms.OneHot(3)(np.int32(3)), DataError, "out of range"),
        (lambda: transforms.OneHot(3)(np.float32(1)), DTypeError, "integer labels"),
        (lambda: transforms.TypeCast("complex64"), DTypeError, "unknown element type"),
    ],
)
def test_wrong_use_is_explained(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_pipelines_for_pillow_images_of_release_1_1():
    from graphrt.dataset.vision import py_transforms as P

    image = images(1, 4, 5, 3)[0]
    mean, std = [0.4, 0.5, 0.6], [0.1, 0.2, 0.3]
    steps = transforms.Compose([P.ToPIL(), P.ToTensor(), P.Normalize(mean, std)])
    data = ds.NumpySlicesDataset(image[None], "image").map(steps, "image").batch(1)
    assert ds.resident_plan(data) is not None
    expected = ((image / 255 - mean) / std).transpose(2, 0, 1)
    np.testing.assert_allclose(next(iter(data))[0].asnumpy()[0], expected, rtol=1e-5, atol=1e-6)


def test_names_of_release_1_1():
    import graphrt.dataset.transforms.c_transforms as CT
    import graphrt.dataset.vision.c_transforms as CV
    from graphrt.dataset.vision import Inter

    assert CV.Resize((32, 32), interpolation=Inter.LINEAR) == vision.Resize((32, 32), Inter.BILINEAR)
    assert CT.TypeCast(graphrt.int32) == transforms.TypeCast(data_type=graphrt.int32)
    import graphrt.dataset.transforms.py_transforms as PT
    import graphrt.dataset.vision.py_transforms as PV

    assert PV.ToTensor is vision.ToTensor and PT.Compose is transforms.Compose
    assert CV.HWC2CHW is vision.HWC2CHW and CV.Rescale is vision.Rescale
