"""Reading ahead while native code trains: overlap, errors with their own tracebacks, sources that stall, end early or
change, and that the model is as good as before after each."""

import gc
import os
import signal
import sys
import threading
import time
import traceback
import warnings
import weakref

import numpy as np
import pytest

import graphrt
from graphrt import dataset as ds
from graphrt.errors import DataError, DataWarning, ShapeError
from graphrt.train import feed

from .conftest import assert_same_weights

NAMES = ["x", "y"]


def rows(points, count=20):
    return zip(points[0][:count], points[1][:count])


def assert_usable(model, make_model, resident):
    """It trains as a fresh model from the same weights does."""
    fresh = make_model()
    for mine, theirs in zip(model.train_network.get_parameters(), fresh.train_network.get_parameters()):
        mine._array[...] = theirs.asnumpy()
    for parameter in model._parts.optimizer.get_parameters():
        if parameter.name.startswith("moments") or parameter.name == "global_step":
            parameter._array[...] = 0
    losses = model.train(1, resident(shuffle=False)).losses
    np.testing.assert_array_equal(losses, fresh.train(1, resident(shuffle=False)).losses)


def no_readers_left():
    deadline = time.monotonic() + 5
    while any(thread.name == "graphrt-reader" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return True


def test_the_source_is_read_while_native_code_runs(make_model, points, monkeypatch):
    """Batch 3 can only be made after a step was trained, batch 4 only while the first step waits for it."""
    model = make_model()
    trained, made = threading.Event(), threading.Event()
    original = feed._Block.run

    def run(self, place, batches):
        assert made.wait(10)  # set by the generator: it ran on while this step was due
        result = original(self, place, batches)
        trained.set()
        return result

    def generate():
        for k, row in enumerate(rows(points)):
            if k == 10:
                made.set()
            if k == 15:
                assert trained.wait(10)
            yield row

    monkeypatch.setattr(feed._Block, "run", run)
    assert len(model.train(1, ds.GeneratorDataset(generate, NAMES).batch(5)).losses) == 4


def test_an_exception_keeps_its_traceback_and_says_which_row(make_model, resident, points):
    def broken_decoder():
        raise RuntimeError("disk on fire")

    def generate():
        yield from rows(points, 12)
        broken_decoder()

    model = make_model()
    with pytest.raises(RuntimeError, match="disk on fire") as caught:
        model.train(1, ds.GeneratorDataset(generate, NAMES).batch(5))
    text = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    assert "in broken_decoder" in text and "in generate" in text
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == [
            "raised by the source of GeneratorDataset(generate) while it read sample 12 of a pass"
        ]
    assert no_readers_left()
    assert_usable(model, make_model, resident)


def test_an_exception_in_map_names_operation_line_and_row(make_model, resident, points):
    def crop(x):
        if x[0] == points[0][13, 0]:
            raise ValueError("no face in the picture")
        return x

    data = ds.GeneratorDataset(lambda: rows(points), NAMES).map(crop, "x").batch(5)
    model = make_model()
    with pytest.raises(ValueError, match="no face") as caught:
        model.train(1, data)
    if sys.version_info >= (3, 11):
        (note,) = caught.value.__notes__
        assert note.startswith("raised by crop of map() at ") and note.endswith(", for row 13 of a pass")
        assert "test_prefetch.py:" in note
    assert_usable(model, make_model, resident)


def test_a_stalled_source_is_reported_and_then_times_out(make_model, resident, points):
    wake = threading.Event()

    def generate():
        yield from rows(points, 10)
        wake.wait(30)

    data = ds.GeneratorDataset(generate, NAMES, timeout=0.6).batch(5)
    model = make_model()
    ds.config.set_multiprocessing_timeout_interval(0.2)
    try:
        with pytest.warns(DataWarning, match="gave no batch for 0 s; still waiting") as warned:  # noqa: SIM117
            with pytest.raises(DataError) as caught:
                model.train(1, data)
    finally:
        ds.config.set_multiprocessing_timeout_interval(10)
        wake.set()
    stall = next(str(w.message) for w in warned if "still waiting" in str(w.message))
    assert "in generate" in stall and "batch 2 of a pass of GeneratorDataset(generate) -> batch(5)" in stall
    error = caught.value
    assert "test_prefetch.py:" in error.at
    given = error.given
    assert given.startswith("nothing: the source stands at ") and "in generate" in given
    assert str(error) == (
        "the dataset gave no batch within its timeout of 0.6 s\n"
        f"  at:       {error.at}\n"
        "  expected: batch 2 of a pass of GeneratorDataset(generate) -> batch(5)\n"
        f"  given:    {given}\n"
        "  fix:      read or prepare the data faster (num_parallel_workers, fewer files), or look for what it waits for"
    )
    assert no_readers_left()
    assert_usable(model, make_model, resident)


def test_a_stalled_worker_thread_is_where_the_source_stands(make_model, points):
    wake = threading.Event()

    def crop(x):
        wake.wait(30)
        return x

    data = ds.GeneratorDataset(lambda: iter(rows(points)), NAMES, timeout=0.2)
    try:
        with pytest.raises(DataError) as caught:
            make_model().train(1, data.map(crop, "x", num_parallel_workers=2).batch(5))
    finally:
        wake.set()
    assert caught.value.given.endswith(" in crop") and "test_prefetch.py:" in caught.value.given


@pytest.mark.parametrize(("value", "given"), [(None, "one value of type NoneType"), ((1, 2, 3), "3")])
def test_a_sample_with_other_columns_names_its_row(make_model, points, value, given):
    def generate():
        yield from rows(points, 7)
        yield value

    with pytest.raises(DataError, match="another number of columns") as caught:
        make_model().train(1, ds.GeneratorDataset(generate, NAMES).batch(2))
    assert caught.value.given == given
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == ["sample 7 of a pass of GeneratorDataset(generate)"]


def test_an_evaluation_batch_the_network_cannot_take_is_named(make_model, points):
    x, y = points
    batches = [(x[:4], y[:4]), (x[4:8, :-1], y[4:8])]
    with pytest.raises(ShapeError) as caught:
        make_model(metrics={"accuracy"}).eval(batches)
    if sys.version_info >= (3, 11):
        (note,) = caught.value.__notes__
        assert note.startswith("batch 1 of the dataset: column 'column_0' is float32[4, ")


def test_ctrl_c_while_waiting_returns(make_model, resident, points):
    wake = threading.Event()

    def generate():
        yield from rows(points, 10)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        wake.wait(30)

    model = make_model()
    model.train(
        1, ds.GeneratorDataset(lambda: rows(points), NAMES).batch(5)
    )  # compiles: the signal must find it waiting
    try:
        with pytest.raises(KeyboardInterrupt, match="after 2 steps"):
            model.train(1, ds.GeneratorDataset(generate, NAMES).batch(5))
    finally:
        wake.set()
    assert_usable(model, make_model, resident)


class Promising:
    """Says it has 20 samples and gives `count`."""

    def __init__(self, points, count):
        self.points, self.count = points, count

    def __len__(self):
        return 20

    def __iter__(self):
        for k in range(self.count):
            yield self.points[0][k % 20], self.points[1][k % 20]


@pytest.mark.parametrize("sink_mode", [True, False])
@pytest.mark.parametrize(
    ("count", "steps", "given"), [(13, 3, "only 13 in this pass"), (27, 4, "more than 20")]
)
def test_a_source_that_breaks_its_promise(make_model, resident, points, count, steps, given, sink_mode):
    model = make_model()
    with pytest.warns(DataWarning, match=f"__len__ says(.|\n)*20 per pass(.|\n)*{given}"):
        history = model.train(
            2, ds.GeneratorDataset(Promising(points, count), NAMES).batch(5), dataset_sink_mode=sink_mode
        )
    assert len(history.losses) == 2 * steps
    assert_usable(model, make_model, resident)


def test_samples_that_change_shape_name_the_row(make_model, resident, points):
    def generate():
        for k, (x, y) in enumerate(rows(points)):
            yield (x if k != 17 else x[:3]), y

    model = make_model()
    with pytest.raises(DataError) as caught:
        model.train(1, ds.GeneratorDataset(generate, NAMES).batch(5))
    assert "test_prefetch.py:" in caught.value.at
    assert str(caught.value) == (
        "batch: the samples of column 'x' differ\n"
        f"  at:       {caught.value.at}\n"
        "  expected: float32[4] as in row 15 of the pass\n"
        "  given:    float32[3] in row 17\n"
        "  fix:      bring all samples to one shape and element type with map() before batch()"
    )
    assert_usable(model, make_model, resident)


def test_the_sources_own_cleanup_runs_when_training_stops(make_model, points):
    cleaned = []

    def generate():
        try:
            while True:
                yield from rows(points)
        finally:
            cleaned.append(True)

    make_model().train(1, ds.GeneratorDataset(generate, NAMES).batch(5), sink_size=7)
    assert no_readers_left() and cleaned == [True]


def test_waiting_for_data_is_measured_and_reported(make_model, points, monkeypatch):
    monkeypatch.setattr(feed, "_SLOW_SECONDS", 0.05)

    def generate():
        for row in rows(points):
            time.sleep(0.01)
            yield row

    model, slow = make_model(), ds.GeneratorDataset(generate, NAMES).batch(5)
    model.train(1, ds.GeneratorDataset(lambda: rows(points), NAMES).batch(5))  # compiles the step
    with pytest.warns(DataWarning, match="waited for its data most of the time(.|\n)*GeneratorDataset"):
        history = model.train(1, slow)
    assert history.data_wait > 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        assert model.train(1, ds.NumpySlicesDataset(points).batch(5)).data_wait == 0.0


def test_random_transforms_draw_the_same_however_far_was_read_ahead(make_model, points, monkeypatch):
    """Runs that stop in the middle of a pass go on with the random numbers after the last batch trained on."""

    def losses(blocks):
        monkeypatch.setattr(feed, "_BLOCK_BATCHES", blocks)
        model = make_model()
        images = points[0].reshape(20, 2, 2, 1)
        data = ds.GeneratorDataset(lambda: zip(images, points[1]), NAMES)
        data = data.map([ds.vision.RandomHorizontalFlip(), lambda x: x.reshape(4)], "x").batch(4)
        return np.concatenate([model.train(1, data, sink_size=2).losses for _ in range(3)])

    expected = losses(2)
    assert np.array_equal(losses(5), expected) and np.array_equal(losses(64), expected)


@pytest.mark.parametrize("kind", ["tuples", "dicts", "list", "iterator"])
def test_any_iterable_of_batches_trains(make_model, resident, points, kind):
    expected = make_model().train(1, resident(shuffle=False)).losses
    batches = [(points[0][k : k + 6], points[1][k : k + 6]) for k in range(0, 20, 6)]
    if kind == "dicts":
        batches = [{"x": x, "y": y} for x, y in batches]
    if kind == "list":
        batches = [list(batch) for batch in batches]
    model = make_model(metrics={"accuracy"})
    assert np.array_equal(model.train(1, iter(batches) if kind == "iterator" else batches).losses, expected)
    assert model.eval(batches) == model.eval(resident(shuffle=False))
    if kind != "iterator":
        assert len(model.fit(2, batches, batches).history["accuracy"]) == 2


def test_an_iterator_gives_one_pass(make_model, points):
    batches = iter([(points[0], points[1])])
    with pytest.raises(DataError, match="used up"):
        make_model().train(2, batches)
    with pytest.raises(DataError, match="gives no batch"):
        make_model().train(1, batches)


def test_torch_data_loaders_train(make_model, resident, points):
    torch = pytest.importorskip("torch")
    data = torch.utils.data.TensorDataset(torch.from_numpy(points[0]), torch.from_numpy(points[1]))
    loader = torch.utils.data.DataLoader(data, batch_size=6)
    expected = make_model().train(2, resident(shuffle=False)).losses
    assert np.array_equal(make_model().train(2, loader).losses, expected)


def test_errors_of_evaluation_data_arrive(make_model, points):
    def generate():
        yield from rows(points, 8)
        raise RuntimeError("disk on fire")

    model = make_model(metrics={"accuracy"})
    with pytest.raises(RuntimeError, match="disk on fire"):
        model.eval(ds.GeneratorDataset(generate, NAMES).batch(4))
    assert no_readers_left()


def test_a_stream_goes_on_where_a_position_says(make_model, points):
    graphrt.set_seed(3)
    data = ds.GeneratorDataset(lambda: rows(points), NAMES).shuffle(8).batch(4)
    model = make_model()
    steps = feed.BlockSteps(data, model._block_step)
    steps.run(7)
    position = steps.position
    assert position["pass"] == 1 and position["batch"] == 2
    expected = steps.run(6).losses
    steps.close()
    other = make_model()
    again = feed.BlockSteps(
        ds.GeneratorDataset(lambda: rows(points), NAMES).shuffle(8).batch(4), other._block_step
    )
    again.run(7)
    again.restore(position)
    assert np.array_equal(again.run(6).losses, expected)
    again.close()
    assert_same_weights(model, other)


def test_steps_that_nobody_uses_any_more_stop_reading(make_model, points):
    steps = feed.BlockSteps(
        ds.GeneratorDataset(lambda: rows(points), NAMES).batch(5).repeat(), make_model()._block_step
    )
    assert len(steps.run(3).losses) == 3
    assert any(thread.name == "graphrt-reader" for thread in threading.enumerate())
    del steps
    assert no_readers_left()


def test_a_dataset_and_its_workers_go_when_nobody_holds_it(make_model, points):
    model = make_model(metrics={"loss"})
    threads = {}
    data = ds.GeneratorDataset(lambda: iter(rows(points)), NAMES).map(
        lambda x: threads.setdefault(threading.current_thread(), x), "x", num_parallel_workers=2
    )
    alive = weakref.ref(data)
    gc.disable()  # reference cycles would keep worker processes, and what they copied, for a while
    try:
        model.fit(2, data.batch(5), data.batch(4))
        del data
        assert alive() is None
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
    finally:
        gc.enable()


def test_a_dry_run_leaves_no_reader_behind(make_model, points):
    make_model().fast_dev_run(ds.GeneratorDataset(lambda: rows(points), NAMES).batch(2).repeat(), steps=2)
    assert no_readers_left()
