"""Training on rows that come from Python: the same losses as resident data, and errors that say what is wrong."""

import numpy as np
import pytest

import graphrt
from graphrt import dataset as ds
from graphrt.errors import DataError
from graphrt.train import Callback, feed

from .conftest import assert_same_weights


def test_a_generator_trains_like_resident_data(engine, make_model, resident, streamed):
    whole, model = make_model(), make_model()
    expected = whole.train(3, resident(shuffle=False)).losses
    assert model.train(3, streamed()).losses.tobytes() == expected.tobytes()
    assert_same_weights(model, whole)


@pytest.mark.parametrize("shape", [dict(sink_size=1), dict(sink_size=6), dict(dataset_sink_mode=False)])
def test_losses_do_not_depend_on_how_steps_are_cut(make_model, resident, streamed, shape):
    expected = make_model().train(3, resident(shuffle=False)).losses
    epochs = 12 // shape["sink_size"] if "sink_size" in shape else 3
    assert make_model().train(epochs, streamed(), **shape).losses.tobytes() == expected.tobytes()


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_blocks_of_any_size_give_the_same(make_model, resident, streamed, monkeypatch, batches):
    expected = make_model().train(3, resident(shuffle=False, batch_size=3)).losses
    monkeypatch.setattr(feed, "_BLOCK_BATCHES", batches)
    assert make_model().train(3, streamed(batch_size=3)).losses.tobytes() == expected.tobytes()


def test_user_functions_and_shuffling_train_like_resident_data(make_model, resident, points):
    expected = make_model().train(3, resident()).losses
    data = ds.NumpySlicesDataset(points, ["x", "y"]).map(lambda x: x, "x").batch(6)
    model = make_model()
    assert ds.resident_plan(data) is None
    assert model.train(3, data).losses.tobytes() == expected.tobytes()


def test_repeated_and_endless_streams(make_model, resident, streamed):
    expected = make_model().train(2, resident(shuffle=False)).losses
    assert np.array_equal(make_model().train(1, streamed().repeat(2)).losses, expected)
    assert np.array_equal(make_model().train(2, streamed().repeat()).losses, expected)
    assert np.array_equal(make_model().train(1, streamed().repeat(), sink_size=8).losses, expected)


def test_epochs_of_an_endless_stream_that_is_batched_later(make_model, resident, points):
    x, y = points
    endless = ds.GeneratorDataset(lambda: iter(zip(x, y)), ["x", "y"]).repeat().batch(6)
    model = make_model(metrics={"loss"})
    assert len(model.train(2, endless).losses) == 2 * -(-len(x) // 6)
    expected = model.eval(resident(shuffle=False))["loss"]
    # the last batch is filled up with the first samples of the next round
    assert model.eval(endless)["loss"] == pytest.approx(expected, rel=0.2)


def test_a_generator_may_give_batches_itself(make_model, resident, points):
    x, y = points
    expected = make_model().train(1, resident(shuffle=False)).losses
    batches = ds.GeneratorDataset(lambda: ((x[k : k + 6], y[k : k + 6]) for k in range(0, 20, 6)), ["x", "y"])
    assert np.array_equal(make_model().train(1, batches).losses, expected)


def test_exceptions_of_the_generator_arrive_and_steps_before_them_count(make_model, points):
    def generate():
        yield from zip(*points)
        raise RuntimeError("disk on fire")

    class Count(Callback):
        def end(self, run_context):
            self.steps = run_context.original_args().cur_step_num

    model, count = make_model(), Count()
    data = ds.GeneratorDataset(generate, ["x", "y"]).batch(5)
    with pytest.raises(RuntimeError, match="disk on fire"):
        model.train(1, data, count, dataset_sink_mode=False)
    assert count.steps == 4


def test_ctrl_c_inside_the_generator_keeps_the_steps_done(make_model, resident, points, monkeypatch):
    monkeypatch.setattr(feed, "_BLOCK_BATCHES", 2)

    def generate():
        for k, row in enumerate(zip(*points)):
            if k == 16:
                raise KeyboardInterrupt
            yield row

    expected = make_model()
    expected.train(1, resident(batch_size=4, shuffle=False), sink_size=4)
    model = make_model()
    with pytest.raises(KeyboardInterrupt, match="after 4 steps"):
        model.train(1, ds.GeneratorDataset(generate, ["x", "y"]).batch(4))
    assert_same_weights(model, expected)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "the dataset is empty"),
        (
            [(np.zeros((2, 4), np.float32), np.zeros(3, np.int32))],
            "columns of a batch have different lengths",
        ),
        ([(np.zeros(4, np.float32), np.int32(0))], "single samples, not batches"),
    ],
)
def test_unusable_batches_are_explained(make_model, rows, words):
    with pytest.raises(DataError, match=words):
        make_model().train(1, ds.GeneratorDataset(lambda: iter(rows), ["x", "y"]))


def test_an_endless_search_for_rows_ends(make_model):
    with pytest.raises(DataError, match="the dataset is empty"):
        make_model().train(1, ds.GeneratorDataset(lambda: iter(()), ["x", "y"]).batch(2), sink_size=3)
    nothing = ds.NumpySlicesDataset(([1.0], [2]), ["x", "y"]).filter(lambda x, y: False).batch(2)
    for run in (make_model().train, lambda _, data: make_model(metrics={"loss"}).eval(data)):
        with pytest.raises(DataError, match="the dataset is empty"):
            run(1, nothing)


def batch(size, width=4, dtype=np.float32):
    return np.zeros((size, width), dtype), np.zeros(size, np.int32)


@pytest.mark.parametrize(
    ("batches", "text"),
    [
        (
            [batch(3), batch(3, width=5)],
            "the batches of column 'x' differ in shape or element type\n"
            "  at:       {at}\n"
            "  expected: float32[3, 4] as in the first batch\n"
            "  given:    float32[3, 5] in batch 1 of a pass\n"
            "  fix:      pad or crop the samples to one shape in map()",
        ),
        (
            [batch(3), batch(3, dtype=np.float16)],
            "the batches of column 'x' differ in shape or element type\n"
            "  at:       {at}\n"
            "  expected: float32[3, 4] as in the first batch\n"
            "  given:    float16[3, 4] in batch 1 of a pass\n"
            "  fix:      pad or crop the samples to one shape in map()",
        ),
        (
            [batch(3), batch(4)],
            "the batches differ in size\n"
            "  at:       {at}\n"
            "  expected: 3 samples, or one smaller size at the end of a pass\n"
            "  given:    4 samples in batch 1 of a pass\n"
            "  fix:      let .batch(batch_size) form the batches",
        ),
        (
            [batch(3), batch(2), batch(1)],
            "the batches differ in size\n"
            "  at:       {at}\n"
            "  expected: 3 samples, or one smaller size at the end of a pass\n"
            "  given:    1 samples in batch 2 of a pass after batches of 3 and 2\n"
            "  fix:      let .batch(batch_size) form the batches",
        ),
    ],
)
def test_batches_that_change_exact_message(make_model, batches, text):
    model = make_model()
    with pytest.raises(DataError) as caught:
        model.train(1, ds.GeneratorDataset(lambda: iter(batches), ["x", "y"]))
    assert "test_feed.py:" in caught.value.at
    assert str(caught.value) == text.format(at=caught.value.at)


def test_random_functions_see_every_pass(make_model, points):
    graphrt.set_seed(0)
    calls = []
    data = ds.NumpySlicesDataset(points, ["x", "y"]).map(lambda x: calls.append(1) or x, "x").batch(5)
    make_model().train(3, data)
    assert len(calls) == 60
