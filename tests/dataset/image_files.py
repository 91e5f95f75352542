"""What the tests of MNIST and CIFAR-10 files share: both give images and labels, and name the line that asked for them."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphrt


def check_rows(dataset: Any, images: np.ndarray, labels: np.ndarray) -> None:
    """The dataset gives these images, uint8[n, H, W, C], and labels in this order."""
    rows = list(dataset.create_dict_iterator(output_numpy=True))
    assert rows[0]["image"].shape == images.shape[1:] and rows[0]["image"].dtype == np.uint8
    assert rows[0]["label"].shape == () and rows[0]["label"].dtype == np.uint32
    assert np.array_equal(np.stack([row["image"] for row in rows]), images)
    assert [int(row["label"]) for row in rows] == labels.tolist()


def check_shuffled_by_default(kind: Any, folder: Any, labels: np.ndarray) -> None:
    """`kind(folder)` gives other orders of the files' labels, and fewer of them with `num_samples`."""
    graphrt.set_seed(0)
    found = [int(label) for _, label in kind(folder)]
    assert sorted(found) == labels.tolist() != found
    assert len(kind(folder, num_samples=4)) == 4


def message(caught: Any) -> str:
    """The error of a `pytest.raises` block without its line `at`, which must be the line of the block."""
    entry = caught.traceback[0]
    assert caught.value.at.endswith(f"{entry.path.name}:{entry.lineno + 1}")
    text = str(caught.value)
    assert text.count(f"\n  at:       {caught.value.at}\n") == 1
    return text.replace(f"  at:       {caught.value.at}\n", "")
