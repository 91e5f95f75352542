"""Model.profile measures the step that train runs, and leaves the model alone."""

import numpy as np
import pytest

import graphrt
from graphrt import dataset as ds
from graphrt.errors import ArgumentError, DataError

from .conftest import assert_same_weights, weights


def test_names_cells_and_threads(make_model, resident):
    with graphrt.set_context(threads=2):
        profile = make_model().profile(resident(), steps=20)
    cells = {kernel.cell for kernel in profile.kernels}
    assert {"Net.hidden (Dense)", "Net.out (Dense)"} <= cells
    assert profile.steps == 20
    assert profile.name == "Net, batch 6"
    assert all(len(kernel.work_us) == profile.threads for kernel in profile.kernels)
    assert profile.flops >= 2 * 6 * (3 * (4 * 8 + 8 * 2) - 4 * 8)  # forward, both gradients except the data's


def test_the_model_stays_as_it_is(make_model, resident):
    profiled, other = make_model(), make_model()
    data, same = resident(shuffle=False), resident(shuffle=False)
    for model, batches in ((profiled, data), (other, same)):
        model.train(1, batches, sink_size=2)
    before = weights(profiled)
    profiled.train_network.set_train(False)
    profiled.profile(data, steps=10)
    assert not any(cell.training for _, cell in profiled.train_network.cells_and_names())
    for name, value in weights(profiled).items():
        assert np.array_equal(before[name], value), name
    for model, batches in ((profiled, data), (other, same)):
        model.train(1, batches, sink_size=3)
    assert_same_weights(profiled, other)  # the place in the data and the moments are kept, too


def test_data_from_python(make_model, streamed):
    profile = make_model().profile(streamed(), steps=10)
    assert profile.name == "Net, batch 6"
    assert profile.wall_us > 0


def test_unusable_arguments(make_model, resident):
    model = make_model()
    with pytest.raises(ArgumentError, match="steps must be a positive int"):
        model.profile(resident(), steps=0)
    with pytest.raises(ArgumentError, match="a dataset is needed"):
        model.profile(3)
    with (
        graphrt.set_context(engine="interpreter"),
        pytest.raises(ArgumentError, match="no kernels to measure"),
    ):
        model.profile(resident())


def test_empty_and_unbatched_data(make_model, points):
    with pytest.raises(DataError, match="empty"):
        make_model().profile(ds.NumpySlicesDataset(points, ["x", "y"]).batch(50, drop_remainder=True))
    with pytest.raises((ArgumentError, DataError), match="single samples"):
        make_model().profile(ds.NumpySlicesDataset((points[1], points[1]), ["x", "y"]))
