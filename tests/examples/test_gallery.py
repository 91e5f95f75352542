"""The short examples, run in this process: what they print is what they say."""

import re
import warnings

import numpy as np
import pytest
from safetensors.numpy import load_file

from graphrt.errors import DataError


def numbers(pattern, output):
    """The groups of every match, as floats."""
    return np.array(re.findall(pattern, output, re.MULTILINE), dtype=float)


def test_quickstart_functional(run_example):
    output = run_example("quickstart_functional.py", "--epochs", 4)
    accuracies = numbers(r"^accuracy: (\S+) %", output)
    losses = numbers(r"mean loss: (\S+)$", output)
    assert len(accuracies) == 4 and accuracies[-1] > 78 and (np.diff(losses) < 0).all()
    fitted = run_example("quickstart_functional.py", "--epochs", 4, "--fit")
    assert len(re.findall(r"^epoch: \d step: 23, loss is", fitted, re.MULTILINE)) == 4
    # both train the same network on batches in other orders
    assert abs(100 * numbers(r"'accuracy': ([\d.]+)", fitted)[-1] - accuracies[-1]) < 5


def test_custom_training_cell(run_example):
    output = run_example("custom_training_cell.py", "--sinks", 4)
    assert len(numbers(r"^sink \d/4, loss: (\S+)$", output)) == 4
    assert numbers(r"test accuracy: (\S+) %", output) > 88


def test_fashion_classifier_warns_of_the_mistake_only(run_example, monkeypatch):
    def no_network(name, folder):
        raise DataError(f"download: {name} could not be fetched")

    import handwriting

    monkeypatch.setattr(handwriting, "download", no_network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        output = run_example("fashion_classifier.py", "--epochs", 2, "--download")
    assert output.startswith("download: fashion_mnist could not be fetched: learning digits instead\n")
    assert (np.diff(numbers(r"test loss (\S+),", output)) < 0).all()
    wrong = numbers(r"one-hot rows: (\S+) %, and a warning", output)
    right = numbers(r"compared with classes: (\S+) %", output)
    assert abs(wrong - right) > 1 and right > 55
    assert "equal: [10] and [10, 10] are compared as a [10, 10] matrix" in output
    assert "with 9 images an error: equal: shapes do not broadcast" in output


def test_pytorch_quickstart(run_example, tmp_path):
    file = tmp_path / "weights.safetensors"
    output = run_example("pytorch_quickstart.py", "--epochs", 10, "--save", file)
    losses = numbers(r"test loss (\S+),", output)
    assert len(losses) == 10 and (np.diff(losses) < 0).all()
    before = re.findall(r"accuracy (\S+) %", output)
    assert before[-1] == before[-2]  # the new network's is the trained one's
    assert load_file(file)["linear_relu_stack.0.weight"].shape == (512, 784)


def test_fit_callbacks(run_example, tmp_path):
    short = ("fit_callbacks.py", "--checkpoints", tmp_path, "--goal", 2, "--epochs")
    first = run_example(*short, 2)
    assert "46 steps; kept: digits-1_23.safetensors, digits-2_23.safetensors" in first
    second = run_example(*short, 3)
    assert "epoch: 3 step: 23" in second and "epoch: 2 step" not in second
    assert "69 steps; kept: digits-2_23.safetensors, digits-3_23.safetensors" in second
    reached = run_example("fit_callbacks.py", "--goal", 0.5)
    assert re.search(r"^worst class reached 0.5 after (23|46|69) steps$", reached, re.MULTILINE)


def test_vectorized_models(run_example):
    output = run_example("vectorized_models.py")
    assert (numbers(r"(?:worst|best|together) ([\d.]+)", output) > 0.9).all()


def test_per_sample_gradients(run_example):
    output = run_example("per_sample_gradients.py", "--epochs", 2)
    assert numbers(r"the batch's, to (\S+)$", output) < 1e-5
    right, wrong = numbers(r"(\S+) where the label is right, (\S+) where not", output)[-1]
    assert wrong > 3 * right
    assert numbers(r"test accuracy: (\S+) %", output) > 85


def test_higher_order_gradients(run_example):
    output = run_example("higher_order_gradients.py")
    at = numbers(r"at 0.5: (\S+)$", output)
    np.testing.assert_allclose(at, [np.sin(0.5), np.cos(0.5), -np.sin(0.5), -np.cos(0.5)], atol=1e-6)
    assert "Newton's method: [1. 1.]" in output
    # the Hessian of Rosenbrock's function at (1, 1) is [[802, -400], [-400, 200]]
    np.testing.assert_allclose(numbers(r"minimum: \[ *(\S+) +(\S+)\]", output), [[2, 0]], atol=0.2)
    first, last = numbers(r"gradient penalty: (\S+), after 200 steps in one native call (\S+)$", output)[0]
    assert last < 0.05 < first


def test_gradient_accumulation(run_example):
    output = run_example("gradient_accumulation.py")
    gaps = numbers(r"differ by at most (\S+)$", output)
    assert len(gaps) == 3 and (gaps < 1e-5).all()
    assert (numbers(r"accuracy (\S+) %", output) > 88).all()


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_mixed_precision(run_example, level):
    output = run_example("mixed_precision.py", "--levels", level)
    first, last = numbers(r"loss (\S+) -> (\S+)", output)[0]
    assert last < first / 3
    assert numbers(r"test accuracy (\S+) %", output) > 92


def test_files_of_mnist(run_example, tmp_path):
    random = np.random.default_rng(0)
    for part, count in (("train", 64), ("t10k", 32)):
        images, labels = random.integers(0, 256, (count, 28, 28)), random.integers(0, 10, count)
        for name, magic, array in (("images-idx3", 2051, images), ("labels-idx1", 2049, labels)):
            header = np.array([magic, *array.shape], ">i4").tobytes()
            (tmp_path / f"{part}-{name}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    output = run_example("custom_training_cell.py", "--data", tmp_path, "--sinks", 2, "--sink-size", 3)
    assert "sink 2/2" in output and "test accuracy" in output


@pytest.mark.parametrize("name", ["quickstart_functional.py", "pytorch_quickstart.py"])
def test_an_unknown_folder_is_reported(run_example, tmp_path, name):
    with pytest.raises(DataError):
        run_example(name, "--data", tmp_path / "nothing")
