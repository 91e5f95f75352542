"""Worker threads and processes: results in order, errors that arrive, random numbers that repeat, processes that die."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import graphrt
from graphrt import dataset as ds
from graphrt.errors import ArgumentError, DataError

HOW = [dict(num_parallel_workers=3), dict(num_parallel_workers=2, python_multiprocessing=True)]


def stream(count=30):
    return ds.GeneratorDataset(lambda: ((np.float32(k), k) for k in range(count)), ["x", "y"])


def memory(count=30):
    return ds.NumpySlicesDataset(
        (np.arange(count, dtype=np.float32), np.arange(count)), ["x", "y"], shuffle=False
    )


def column(dataset, name="x"):
    return [row[name].tolist() for row in dataset.create_dict_iterator(output_numpy=True)]


@pytest.mark.parametrize("how", HOW, ids=["threads", "processes"])
@pytest.mark.parametrize("source", [stream, memory])
def test_results_come_in_order_and_elsewhere(source, how):
    here = os.getpid(), threading.get_ident()

    def double(x):
        assert (os.getpid(), threading.get_ident()) != here
        return 2 * x

    data = source().map([double, lambda x: x + 1], "x", **how)
    assert column(data) == [2 * k + 1 for k in range(30)]
    batches = data.batch(8)
    assert np.concatenate(column(batches)).tolist() == [2 * k + 1 for k in range(30)]
    assert np.concatenate(column(batches, "y")).tolist() == list(range(30))
    batches.close()
    assert len(column(batches)) == 4  # workers start again
    batches.close()


@pytest.mark.parametrize("how", HOW, ids=["threads", "processes"])
def test_rows_before_an_exception_arrive_and_then_it_does(how):
    def fail(x):
        if x == 13:
            raise RuntimeError("disk on fire")
        return x

    data = stream().map(fail, "x", **how)
    with pytest.raises(RuntimeError, match="disk on fire") as caught:
        column(data)
    if sys.version_info >= (3, 11):
        notes = "\n".join(caught.value.__notes__)
        assert "raised by fail of map() at " in notes and "for row 13 of a pass" in notes
        assert ("in a worker process:" in notes and "in fail" in notes) == ("python_multiprocessing" in how)
    iterator = data.create_tuple_iterator(["x"], output_numpy=True)
    assert [next(iterator)[0].item() for _ in range(13)] == list(range(13))
    data.close()


def test_exceptions_that_cannot_be_sent_arrive_as_text():
    class Local(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    def fail(x):
        raise Local("fire", "flood")

    with pytest.raises(DataError, match="Local in a worker process: fire and flood"):
        column(stream().map(fail, "x", num_parallel_workers=2, python_multiprocessing=True))


def test_a_worker_process_that_dies_is_reported():
    data = stream().map(lambda x: os._exit(3), "x", num_parallel_workers=2, python_multiprocessing=True)
    with pytest.raises(DataError) as caught:
        column(data)
    assert "test_workers.py:" in caught.value.at
    assert str(caught.value) == (
        "map(<lambda>): a worker process died\n"
        f"  at:       {caught.value.at}\n"
        "  expected: workers that return a result or raise an exception\n"
        "  given:    a process that was killed (out of memory?), crashed in native code or called exit\n"
        "  fix:      run the function with num_parallel_workers=1 to see what happens to it"
    )


def test_processes_draw_different_random_numbers_that_repeat_with_the_seed():
    def draw(x):
        return np.float32(np.random.random())

    def one_pass(seed):
        graphrt.set_seed(seed)
        data = stream(40).map(draw, "x", num_parallel_workers=2, python_multiprocessing=True)
        first, second = column(data), column(data)
        data.close()
        assert len(set(first + second)) == 80
        return first

    assert one_pass(5) == one_pass(5) != one_pass(6)


def test_random_transforms_stay_in_order_between_functions_of_workers():
    images = np.random.default_rng(0).integers(0, 255, (24, 3, 4, 1)).astype(np.uint8)

    def mapped(workers):
        graphrt.set_seed(2)
        data = ds.GeneratorDataset(lambda: iter(images), "x")
        chain = [lambda x: x + 1, ds.vision.RandomHorizontalFlip(), lambda x: x - 1]
        return column(data.map(chain, "x", num_parallel_workers=workers))

    assert mapped(3) == mapped(1)


@pytest.mark.parametrize("how", HOW, ids=["threads", "processes"])
def test_random_access_sources_are_read_by_workers(how):
    class Source:
        def __getitem__(self, k):
            assert threading.current_thread() is not main or os.getpid() != parent
            return np.float32(k), k

        def __len__(self):
            return 20

    main, parent = threading.current_thread(), os.getpid()
    how = {"python_multiprocessing": False, **how}
    data = ds.GeneratorDataset(Source(), ["x", "y"], shuffle=False, **how)
    assert column(data) == list(range(20))
    data.close()


@pytest.mark.parametrize("how", HOW, ids=["threads", "processes"])
def test_per_batch_map_in_workers(how):
    def scale(xs, info):
        return [x * info.get_batch_num() for x in xs]

    data = stream(10).batch(4, per_batch_map=scale, input_columns="x", **how)
    assert column(data) == [[0, 0, 0, 0], [4, 5, 6, 7], [16, 18]]
    assert column(data, "y") == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    data.close()


def test_the_default_number_of_workers():
    try:
        ds.config.set_num_parallel_workers(2)
        names = set()
        column(stream().map(lambda x: names.add(threading.current_thread().name) or x, "x"))
        assert all(name.startswith("graphrt-data") for name in names)
    finally:
        ds.config.set_num_parallel_workers(1)
    for wrong in (0, True, 1.5):
        with pytest.raises(ArgumentError, match="num_parallel_workers"):
            stream().map(lambda x: x, "x", num_parallel_workers=wrong)
        with pytest.raises(ArgumentError, match="num_parallel_workers"):
            ds.config.set_num_parallel_workers(wrong)


STUCK = """
import threading, warnings
import numpy as np
from graphrt import Model, dataset as ds, nn
from graphrt.errors import DataError

def stuck(x):
    if x[0] == 12:
        threading.Event().wait()
    return x

rows = [(np.full(2, k, np.float32), np.int32(0)) for k in range(40)]
data = ds.GeneratorDataset(lambda: iter(rows), ["x", "y"], timeout=0.5).map(
    stuck, "x", num_parallel_workers=2, python_multiprocessing={processes}
).batch(4)
network = nn.Dense(2, 2)
try:
    Model(network, nn.CrossEntropyLoss(), nn.SGD(network.trainable_params(), 0.0)).train(1, data, progress=False)
except DataError as error:
    print(error.message)
"""


@pytest.mark.parametrize("processes", [False, True])
def test_a_program_ends_although_a_worker_never_does(processes):
    program = STUCK.replace("{processes}", str(processes))
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == "the dataset gave no batch within its timeout of 0.5 s", run.stderr
    assert run.returncode == 0


def test_abandoned_processes_are_ended():
    import multiprocessing

    def slow(x):
        if x > 7:  # not in the first chunk that a process is given
            threading.Event().wait()
        return x

    data = stream().map(slow, "x", num_parallel_workers=2, python_multiprocessing=True)
    iterator = iter(data._rows(0))
    assert [next(iterator)[0].item() for _ in range(6)] == list(range(6))
    assert multiprocessing.active_children()
    iterator.close()
    del iterator
    data.close()
    for child in multiprocessing.active_children():
        child.join(10)
    assert not multiprocessing.active_children()
