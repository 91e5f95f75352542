"""The ResNet example in small: it reads CIFAR-10's files, learns, and augments inside the step."""

import gzip
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from graphrt.errors import DataError

SCRIPT = Path(__file__).parents[2] / "examples" / "resnet20_cifar.py"


@pytest.fixture
def folder(tmp_path):
    """Two classes that differ in colour: 256 training and 20 test images."""
    draw = np.random.default_rng(0)
    for name, count in (("data_batch_1.bin.gz", 256), ("test_batch.bin.gz", 20)):
        labels = np.arange(count) % 2
        planes = draw.integers(0, 100, (count, 3, 32, 32))
        planes[labels == 0, 0] += 120
        planes[labels == 1, 2] += 120
        records = np.concatenate([labels[:, None], planes.reshape(count, -1)], axis=1).astype(np.uint8)
        (tmp_path / name).write_bytes(gzip.compress(records.tobytes(), 1))
    return tmp_path


def test_it_learns(run_example, folder):
    output = run_example("resnet20_cifar.py", "--data-dir", folder, "--epochs", 4)
    losses = re.findall(r"^epoch: \d step: 2, loss is (\S+)$", output, re.MULTILINE)
    assert "256 training images, 20 test images" in output
    assert len(losses) == 4 and float(losses[-1]) < min(0.1, float(losses[0]))
    assert float(re.search(r"test accuracy: (\S+) %", output)[1]) >= 50


def test_a_missing_folder_is_reported(run_example, tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        run_example("resnet20_cifar.py", "--data-dir", tmp_path / "nothing")


def test_the_network_is_resnet20():
    network = runpy.run_path(str(SCRIPT), run_name="resnet20_cifar")["net"]
    convolutions = [p for p in network.trainable_params() if p.ndim == 4]
    in_sequence = [p for p in convolutions if p.shape[2] == 3]
    assert len(in_sequence) == 19 and len(convolutions) == 21  # and two shortcuts; the 20th layer is dense
    assert sum(p.size for p in network.trainable_params()) == 272_474
