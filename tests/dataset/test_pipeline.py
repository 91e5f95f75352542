"""The pipeline as users see it: sources, map, shuffle, batch, repeat, take, skip, iteration."""

import sys

import numpy as np
import pytest

import graphrt
from graphrt import dataset as ds
from graphrt.errors import ArgumentError, DataError, DTypeError

transforms, vision = ds.transforms, ds.vision


def numbers(count=10, **options):
    x = np.arange(count, dtype=np.float32)
    return ds.NumpySlicesDataset((x, np.arange(count, dtype=np.int32)), ["x", "y"], **options)


def column(dataset, name="x"):
    return [row[name].tolist() for row in dataset.create_dict_iterator(output_numpy=True)]


def test_tuple_dict_list_and_array_sources():
    by_tuple = ds.NumpySlicesDataset((np.zeros((4, 2)), np.zeros(4)), shuffle=False)
    assert by_tuple.get_col_names() == ["column_0", "column_1"]
    by_dict = ds.NumpySlicesDataset({"a": [1.5, 2.5], "b": [[1, 2], [3, 4]]}, shuffle=False)
    rows = list(by_dict.create_tuple_iterator(output_numpy=True))
    assert rows[1][0].dtype == np.float32 and rows[1][0] == 2.5
    assert rows[1][1].dtype == np.int64 and rows[1][1].tolist() == [3, 4]
    assert len(ds.NumpySlicesDataset(np.zeros((7, 3)))) == 7
    assert len(ds.NumpySlicesDataset([1, 2, 3])) == 3


def test_rows_are_tensors():
    (x, y) = next(iter(numbers(shuffle=False).batch(4)))
    assert isinstance(x, graphrt.Tensor) and x.shape == (4,) and x.dtype == graphrt.float32
    assert y.asnumpy().tolist() == [0, 1, 2, 3]


def test_changing_what_the_iterator_gave_does_not_change_the_dataset():
    data = np.zeros((4, 2), np.float32)
    dataset = ds.NumpySlicesDataset(data, "x", shuffle=False)
    for (row,) in dataset.create_tuple_iterator(output_numpy=True):
        row += 1
    assert not data.any()


@pytest.mark.parametrize(("drop", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_last_batch(drop, sizes):
    dataset = numbers(shuffle=False).batch(4, drop_remainder=drop)
    assert [len(x) for x, _ in dataset] == sizes
    assert dataset.get_dataset_size() == len(sizes) and dataset.get_batch_size() == 4


def test_shuffled_passes_are_different_permutations_that_repeat_with_the_seed():
    graphrt.set_seed(3)
    dataset = numbers(50).batch(50)
    first, second = column(dataset)[0], column(dataset)[0]
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second and first != list(range(50))
    graphrt.set_seed(3)
    assert column(dataset)[0] == first  # the count of passes begins anew
    graphrt.set_seed(4)
    assert column(dataset)[0] != first


def test_columns_stay_aligned_when_shuffled():
    for x, y in numbers(20).shuffle(5).batch(3).create_tuple_iterator(output_numpy=True):
        assert x.tolist() == y.tolist()


def test_samples_and_batches_come_in_the_same_order():
    graphrt.set_seed(1)
    one_by_one = column(numbers(9))
    graphrt.set_seed(1)
    assert np.concatenate(column(numbers(9).batch(4))).tolist() == one_by_one


def test_repeat_take_skip():
    dataset = numbers(3, shuffle=False)
    assert column(dataset.repeat(2)) == [0, 1, 2, 0, 1, 2]
    assert column(dataset.repeat(2).batch(4)) == [[0, 1, 2, 0], [1, 2]]
    assert column(dataset.take(2)) == [0, 1] and column(dataset.skip(1)) == [1, 2]
    assert dataset.repeat(2).get_dataset_size() == 6 and dataset.skip(1).take(1).get_dataset_size() == 1
    assert (
        dataset.batch(2).repeat(3).get_dataset_size() == 6
        and dataset.batch(2).repeat(3).get_repeat_count() == 3
    )


def test_endless_repeat_counts_as_one_pass_and_ends_when_empty():
    endless = numbers(3, shuffle=False).batch(2).repeat()
    assert endless.get_dataset_size() == 2
    iterator = endless.create_tuple_iterator(["x"], output_numpy=True)
    assert [next(iterator)[0].tolist() for _ in range(3)] == [[0, 1], [2], [0, 1]]
    assert list(ds.GeneratorDataset(lambda: iter(()), "x").repeat()) == []


@pytest.mark.parametrize("source", [lambda n, name="x": ds.NumpySlicesDataset(np.arange(n), name, shuffle=False),
                                    lambda n, name="x": ds.GeneratorDataset(lambda: iter(range(n)), name)])  # fmt: skip
def test_sizes_after_an_endless_repeat_are_what_iteration_gives(source):
    def size_and_rows(dataset):
        return dataset.get_dataset_size(), len(list(dataset))

    assert size_and_rows(source(3).repeat().take(10)) == (10, 10)
    assert size_and_rows(source(3).repeat().skip(2).take(4)) == (4, 4)
    assert size_and_rows(source(3).repeat().batch(2).take(4)) == (4, 4)
    assert size_and_rows(source(3).repeat().zip(source(10, "y"))) == (10, 10)
    assert source(5).repeat().batch(2).get_dataset_size() == 3  # an epoch: one pass over what is repeated


def test_counting_the_rows_of_an_endless_filter_is_refused():
    endless = ds.GeneratorDataset(lambda: iter(range(3)), "x").repeat().filter(lambda x: x > 0)
    with pytest.raises(DataError, match="the size of an endless dataset cannot be counted"):
        endless.get_dataset_size()
    assert len(list(endless.take(4))) == 4


def test_counting_runs_no_functions():
    called = []
    dataset = ds.GeneratorDataset(lambda: iter(range(7)), "x").map(called.append, "x").batch(3)
    assert dataset.get_dataset_size() == 3 and called == []


def test_take_of_a_shuffled_source_takes_other_samples_each_pass():
    graphrt.set_seed(0)
    dataset = numbers(100).take(5)
    assert len(dataset) == 5 and column(dataset) != column(dataset)


def test_num_epochs_bounds_the_passes():
    iterator = numbers(3).create_tuple_iterator(num_epochs=2)
    assert [len(list(iterator)) for _ in range(3)] == [3, 3, 0]


def test_map_runs_functions_per_sample_and_transforms_per_batch():
    dataset = numbers(4, shuffle=False).map([lambda x: x + 1, vision.Rescale(2.0, 0.5)], "x")
    assert column(dataset) == [2.5, 4.5, 6.5, 8.5]
    assert column(dataset.batch(4)) == [[2.5, 4.5, 6.5, 8.5]]


def test_map_may_change_the_columns():
    dataset = numbers(3, shuffle=False).map(lambda x, y: (x, y, x + y), ["x", "y"], ["x", "y", "sum"])
    assert dataset.get_col_names() == ["x", "y", "sum"]
    assert column(dataset.batch(3), "sum") == [[0, 2, 4]]
    renamed = numbers(3, shuffle=False).map(lambda x: -x, "x", "z")
    assert renamed.get_col_names() == ["z", "y"]
    assert renamed.map(lambda z: z, "z", column_order=["y", "z"]).get_col_names() == ["y", "z"]


def test_map_with_the_keyword_order_of_release_1_1():
    dataset = numbers(3).map(
        input_columns="y", operations=transforms.TypeCast(graphrt.int64), num_parallel_workers=2
    )
    assert dataset.batch(3).output_types() == [np.float32, np.int64]


def test_random_functions_run_again_each_pass():
    draw = np.random.default_rng(0)
    dataset = numbers(4, shuffle=False).map(lambda x: np.float32(draw.random()), "x").batch(4)
    assert column(dataset) != column(dataset)


def test_generator_function_iterable_and_random_access():
    def generate():
        yield from ((np.full(2, k, np.float32), k) for k in range(5))

    dataset = ds.GeneratorDataset(generate, ["x", "y"], column_types=[graphrt.float32, graphrt.int32])
    assert column(dataset.batch(2), "y") == [[0, 1], [2, 3], [4]] == column(dataset.batch(2), "y")
    assert dataset.get_dataset_size() == 5 and dataset.output_types()[1] == np.int32
    assert column(ds.GeneratorDataset([1.0, 2.0], "x", shuffle=False)) == [1.0, 2.0]
    graphrt.set_seed(0)
    shuffled = column(ds.GeneratorDataset(list(range(30)), "x"))
    assert sorted(shuffled) == list(range(30)) != shuffled
    assert column(ds.GeneratorDataset(generate, ["x", "y"], num_samples=2), "y") == [0, 1]


def test_buffer_shuffle_of_a_stream_keeps_every_row():
    graphrt.set_seed(0)
    dataset = ds.GeneratorDataset(lambda: iter(range(40)), "x").shuffle(7)
    first, second = column(dataset), column(dataset)
    assert sorted(first) == list(range(40)) and first != second
    assert max(position - value for position, value in enumerate(first)) < 40
    assert all(value <= position + 7 for position, value in enumerate(first))


def test_exceptions_of_the_source_arrive_unchanged_with_a_note():
    def generate():
        yield 1
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError) as caught:
        list(ds.GeneratorDataset(generate, "x"))
    assert str(caught.value) == "disk on fire"
    if sys.version_info >= (3, 11):
        assert "sample 1" in caught.value.__notes__[0]


def test_a_used_up_generator_is_reported():
    dataset = ds.GeneratorDataset((k for k in range(3)), "x")
    assert len(list(dataset)) == 3
    with pytest.raises(DataError, match="pass the generator function itself"):
        list(dataset)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: ds.NumpySlicesDataset((np.zeros(3), np.zeros(4))), DataError, "different lengths"),
        (lambda: ds.NumpySlicesDataset(np.float32(1)), DataError, "no axis of samples"),
        (lambda: ds.NumpySlicesDataset([[1], [1, 2]]), DataError, "one shape"),
        (lambda: ds.NumpySlicesDataset(np.array(["a"])), DTypeError, "element type"),
        (lambda: ds.NumpySlicesDataset((np.zeros(3), np.zeros(3)), ["a"]), ArgumentError, "every column"),
        (
            lambda: ds.NumpySlicesDataset((np.zeros(3), np.zeros(3)), ["a", "a"]),
            ArgumentError,
            "different names",
        ),
        (lambda: ds.GeneratorDataset(5, "x"), ArgumentError, "gives no samples"),
        (lambda: ds.GeneratorDataset(lambda: iter(()), None), ArgumentError, "column_names is needed"),
        (lambda: ds.GeneratorDataset(lambda: iter(()), "x", shuffle=True), ArgumentError, "random-access"),
        (lambda: numbers().batch(0), ArgumentError, "batch_size"),
        (lambda: numbers().batch(True), ArgumentError, "batch_size"),
        (lambda: numbers().shuffle(0), ArgumentError, "buffer_size"),
        (lambda: numbers().repeat(0), ArgumentError, "count"),
        (lambda: numbers().map([], "x"), ArgumentError, "no operations"),
        (lambda: numbers().map(vision.HWC2CHW, "x"), ArgumentError, "make an object of it: HWC2CHW"),
        (lambda: numbers().map(vision.HWC2CHW(), "z"), ArgumentError, "no such column"),
        (lambda: numbers().map(vision.HWC2CHW()), ArgumentError, "takes one column"),
        (lambda: numbers().map(lambda x: x, "x", "y"), ArgumentError, "one name"),
        (lambda: numbers().create_tuple_iterator(["z"]), ArgumentError, "no such column"),
        (lambda: list(numbers().map(lambda x: (x, x), "x")), DataError, "another number of columns"),
        (
            lambda: list(numbers().map(lambda x: np.zeros(int(x)), "x").batch(2)),
            DataError,
            "samples of column 'x' differ",
        ),
    ],
)
def test_wrong_use_is_explained(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_empty_dataset_exact_message():
    with pytest.raises(DataError) as caught:
        ds.NumpySlicesDataset((np.zeros((0, 4), np.float32), np.zeros(0, np.int32)))
    line = caught.traceback[0].lineno + 1
    assert caught.value.at.endswith(f"test_pipeline.py:{line}")
    assert str(caught.value) == (
        "NumpySlicesDataset: the dataset is empty\n"
        f"  at:       {caught.value.at}\n"
        "  expected: at least one sample\n"
        "  given:    column_0: float32[0, 4], column_1: int32[0]\n"
        "  fix:      check how the arrays were read or selected"
    )
