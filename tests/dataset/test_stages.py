"""filter, zip, concat, split, rename, per_batch_map, samplers and shards; which of them stay in memory."""

import numpy as np
import pytest

import graphrt
from graphrt import dataset as ds
from graphrt.errors import ArgumentError, DataError

vision = ds.vision


def memory(count=10, names=("x", "y"), **options):
    return ds.NumpySlicesDataset(
        (np.arange(count, dtype=np.float32), np.arange(count)), list(names), **options
    )


def stream(count=10, names=("x", "y")):
    return ds.GeneratorDataset(lambda: ((np.float32(k), k) for k in range(count)), list(names))


def numbered(count=10, names=("x", "y"), **options):
    return ds.GeneratorDataset([(np.float32(k), k) for k in range(count)], list(names), **options)


def column(dataset, name="x"):
    return [row[name].tolist() for row in dataset.create_dict_iterator(output_numpy=True)]


def ordered(make):
    return make(shuffle=False) if make is not stream else make()


@pytest.mark.parametrize("make", [memory, stream, numbered])
def test_filter(make):
    odd = ordered(make).filter(lambda y: y % 2 == 1, "y")
    assert column(odd) == [1, 3, 5, 7, 9] == column(odd)
    assert odd.get_dataset_size() == 5 and column(odd.batch(2)) == [[1, 3], [5, 7], [9]]
    assert column(ordered(make).filter(lambda x, y: x + y > 15)) == [8, 9]


def test_filter_in_memory_stays_native_and_is_asked_once_per_sample():
    asked = []
    data = memory().map(vision.Rescale(2.0, 0.0), "x").filter(lambda x: asked.append(1) or x >= 8, "x")
    plan = ds.resident_plan(data.batch(3))
    assert plan.size == 6 and plan.shuffle
    graphrt.set_seed(0)
    assert sorted(column(data)) == [8, 10, 12, 14, 16, 18] and len(asked) == 10
    random = ds.NumpySlicesDataset(np.zeros((4, 2, 2), np.uint8), "x").map(vision.RandomHorizontalFlip(), "x")
    assert ds.resident_plan(random.filter(lambda x: True).batch(2)) is None


def test_zip_as_method_and_function():
    left, right = memory(4, ("a", "b"), shuffle=False), memory(3, ("c", "d"), shuffle=False)
    for joined in (left.zip(right), ds.zip((left, right)), left.zip((right,))):
        assert joined.get_col_names() == ["a", "b", "c", "d"] and len(joined) == 3
        assert column(joined, "d") == [0, 1, 2] == column(joined, "a")
    assert ds.resident_plan(left.map(vision.Rescale(2.0, 0.0), "a").zip(right).batch(2)) is not None
    assert ds.resident_plan(memory(4, ("a", "b")).zip(right).batch(2)) is None  # shuffles on its own
    assert column(ds.zip((left.project("a"), stream(2, ("c", "d")))), "a") == [0, 1]
    kept = left.project("b").zip(right)
    assert column(kept.batch(2), "b") == [[0, 1], [2]]


def test_concat():
    both = memory(3, shuffle=False) + memory(2, shuffle=False)
    assert column(both) == [0, 1, 2, 0, 1] and len(both) == 5
    assert ds.resident_plan(both.shuffle(5).batch(2)).size == 5
    mixed = memory(3, shuffle=False).concat([stream(2), numbered(1)])
    assert column(mixed) == [0, 1, 2, 0, 1, 0] and ds.resident_plan(mixed.batch(2)) is None
    doubled = memory(2, shuffle=False).map(vision.Rescale(2.0, 0.0), "x") + memory(2, shuffle=False)
    assert column(doubled) == [0, 2, 0, 1]


@pytest.mark.parametrize("make", [memory, numbered])
@pytest.mark.parametrize("sizes", [[0.8, 0.2], [8, 2]])
def test_split_at_random(make, sizes):
    graphrt.set_seed(1)
    train, valid = make().map(lambda x: x, "x").split(sizes)
    assert (len(train), len(valid)) == (8, 2)
    first = sorted(column(train))
    assert sorted(first + column(valid)) == list(range(10)) and first != list(range(8))
    assert sorted(column(train)) == first and column(train) != column(
        train
    )  # same samples, shuffled each pass
    graphrt.set_seed(1)
    again, _ = make().split(sizes)
    assert sorted(column(again)) == first


def test_split_in_order():
    for make in (memory, stream, numbered):
        first, second = ordered(make).split([0.25, 0.75], randomize=False)
        assert column(first) == [0, 1] and column(second) == list(range(2, 10))
    assert ds.resident_plan(memory().split([5, 5])[1].map(vision.Rescale(1.0, 0.0), "x").batch(2)).size == 5
    assert [len(p) for p in memory(11).split([1 / 3, 1 / 3, 1 / 3])] == [3, 4, 4]


def test_rename():
    data = memory(shuffle=False).rename("x", "image").rename(["y"], ["label"])
    assert data.get_col_names() == ["image", "label"] and column(data, "label") == list(range(10))
    swapped = memory(3, shuffle=False).map(vision.Rescale(2.0, 0.0), "x").rename(["x", "y"], ["y", "x"])
    assert column(swapped, "y") == [0, 2, 4] and column(swapped, "x") == [0, 1, 2]
    plan = ds.resident_plan(swapped.batch(3))
    assert list(plan.columns) == ["y", "x"] and plan.transforms["x"] == ()


def test_per_batch_map_may_change_columns():
    def pad(xs, ys, info):
        width = int(max(ys)) + 1
        return [np.pad(np.atleast_1d(x), (0, width - 1)) for x in xs], np.full(len(ys), info.get_epoch_num())

    data = memory(4, shuffle=False).batch(3, per_batch_map=pad, output_columns=["padded", "epoch"])
    assert data.get_col_names() == ["padded", "epoch"] and ds.resident_plan(data) is None
    batches = list(data.create_dict_iterator(output_numpy=True))
    assert [b["padded"].shape for b in batches] == [(3, 3), (1, 4)]
    assert column(data, "epoch") == [[1, 1, 1], [1]]
    with pytest.raises(DataError, match="another number of columns"):
        column(memory(4).batch(2, per_batch_map=lambda x, y, info: (x, y, x)))


@pytest.mark.parametrize("make", [memory, numbered])
def test_shards_cover_everything_and_are_equally_long(make):
    shards = [column(make(shuffle=False, num_shards=3, shard_id=k)) for k in range(3)]
    assert shards == [[0, 3, 6, 9], [1, 4, 7, 0], [2, 5, 8, 1]]
    assert len(make(num_shards=3, shard_id=2, num_samples=2)) == 2
    graphrt.set_seed(0)
    data = make(num_shards=2, shard_id=1)
    assert sorted(column(data)) == [1, 3, 5, 7, 9] and column(data) != column(data)


@pytest.mark.parametrize("make", [memory, numbered])
def test_samplers(make):
    assert column(make(sampler=ds.SequentialSampler(3, 4))) == [3, 4, 5, 6]
    assert column(make(sampler=[7, 1, 1])) == [7, 1, 1] == column(make(sampler=ds.SubsetSampler([7, 1, 1])))
    assert sorted(column(make(sampler=ds.SubsetRandomSampler([7, 1, 3])))) == [1, 3, 7]
    assert sorted(column(make(sampler=ds.RandomSampler()))) == list(range(10))
    assert column(make(sampler=ds.DistributedSampler(5, 2, shuffle=False))) == [2, 7]


@pytest.mark.parametrize("make", [memory, numbered])
def test_samplers_that_choose_anew_for_every_pass(make):
    graphrt.set_seed(3)
    some = make(sampler=ds.RandomSampler(num_samples=4))
    first, second = column(some), column(some)
    assert len(some) == len(set(first)) == len(set(second)) == 4 and set(first) != set(second)
    some.reset()
    assert column(some) == first
    assert (
        len(set(column(make(100, sampler=ds.RandomSampler(replacement=True))))) < 80
    )  # e^-1 of them are missing
    weights = np.array([0, 3, 0, 1, 0, 0, 0, 0, 0, 0])
    drawn = column(make(sampler=ds.WeightedRandomSampler(weights, 4000)))
    assert len(drawn) == 4000 and abs(drawn.count(1) - 3000) < 150 and drawn.count(1) + drawn.count(3) == 4000
    assert sorted(column(make(sampler=ds.WeightedRandomSampler(weights, 2, replacement=False)))) == [1, 3]

    class Backwards(ds.Sampler):
        def __iter__(self):
            return iter(range(9, 5, -1))

    assert column(make(sampler=Backwards())) == [9, 8, 7, 6]
    assert column(make(sampler=Backwards(), num_samples=3).skip(1)) == [8, 7]

    class Shrinking(ds.Sampler):
        left = 4

        def __iter__(self):
            self.left -= 1
            return iter(range(self.left + 1))

    with pytest.raises(DataError, match="fewer samples than in the first pass"):
        column(make(sampler=Shrinking()))


def ragged():
    return ds.GeneratorDataset(
        lambda: ((np.arange(k + 1, dtype=np.float32), k) for k in range(5)), ["x", "y"]
    )


def test_padded_batch():
    first, second = (row["x"] for row in ragged().padded_batch(3).create_dict_iterator(output_numpy=True))
    assert first.tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 2]] and second.shape == (2, 5)
    filled = ragged().padded_batch(3, drop_remainder=True, pad_info={"x": ([4], -1)})
    assert column(filled) == [[[0, -1, -1, -1], [0, 1, -1, -1], [0, 1, 2, -1]]]
    cut = ragged().padded_batch(5, num_parallel_workers=2, pad_info={"x": ([2], None)})
    assert column(cut) == [[[0, 0], [0, 1], [0, 1], [0, 1], [0, 1]]] and column(cut, "y") == [[0, 1, 2, 3, 4]]
    tables = ds.GeneratorDataset(lambda: (np.ones((k, 3 - k)) for k in (1, 2)), "x")
    (table,) = column(tables.padded_batch(2, pad_info={"x": ([None, 3], 7)}))
    assert table == [[[1, 1, 7], [7, 7, 7]], [[1, 7, 7], [1, 7, 7]]]


def test_flat_map():
    data = ds.NumpySlicesDataset(np.array([2, 3]), "n", shuffle=False)
    joined = data.flat_map(lambda row: memory(int(row[0]), shuffle=False))
    assert column(joined) == [0, 1, 0, 1, 2] and joined.get_dataset_size() == 5
    assert ds.resident_plan(joined.batch(2)) is not None


def test_drawn_samples_pass_all_stages():
    graphrt.set_seed(3)
    data = memory(sampler=ds.WeightedRandomSampler([1] * 5 + [0] * 5, 6))
    assert ds.resident_plan(data.batch(2)) is None
    assert len(data) == 6 and len(data.batch(4)) == 2 == len(column(data.batch(4)))
    for stage in (data.filter(lambda x, y: x < 5), data.shuffle(3), data.take(6), data + data.skip(6)):
        assert len(list(stage)) == 6 and max(column(stage)) < 5
    assert column(data.zip(stream(3, names=("a", "b")))) != column(data)


def test_reading_helpers():
    data = memory(6, shuffle=False).batch(4)
    assert data.output_shapes() == [[4], [4]] and data.dataset_size == 2
    assert data.apply(lambda d: d.repeat(2)).get_repeat_count() == 2
    assert data.describe() == "NumpySlicesDataset -> batch(4)"
    graphrt.set_seed(0)
    shuffled = memory()
    first = column(shuffled)
    shuffled.reset()
    assert column(shuffled) == first != column(shuffled)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: memory().filter(3), ArgumentError, "must be a function"),
        (lambda: memory().filter(lambda x: x, "z"), ArgumentError, "no such column"),
        (lambda: memory().zip(memory()), ArgumentError, "column of one name(.|\n)*rename"),
        (lambda: ds.zip((memory(),)), ArgumentError, "at least two datasets"),
        (lambda: memory().zip(3), ArgumentError, "datasets are needed"),
        (lambda: memory().concat(memory(names=("a", "b"))), ArgumentError, "different columns"),
        (lambda: memory().split([0.5, 0.6]), ArgumentError, "add up to 10"),
        (lambda: memory().split([5, 6]), ArgumentError, "add up to 10"),
        (lambda: memory().split([]), ArgumentError, "sizes do not fit"),
        (lambda: memory().split([0.999, 0.001]), ArgumentError, "at least one row"),
        (lambda: stream().split([5, 5]), ArgumentError, "randomize=False"),
        (lambda: memory().rename("x", "y"), ArgumentError, "unusable column names"),
        (lambda: memory().rename("z", "a"), ArgumentError, "unusable column names"),
        (lambda: memory().map(lambda x: x, "x", cache=1), ArgumentError, "cache is not supported"),
        (lambda: memory().batch(2, input_columns="x"), ArgumentError, "without per_batch_map"),
        (lambda: memory().apply(lambda d: 3), ArgumentError, "must return a dataset"),
        (lambda: memory(num_shards=2), ArgumentError, "shard_id"),
        (lambda: memory(num_shards=2, shard_id=2), ArgumentError, "0 <= shard_id < num_shards"),
        (lambda: memory(sampler=[1], shuffle=True), ArgumentError, "sampler or shuffle"),
        (lambda: memory(sampler=3), ArgumentError, "unknown sampler"),
        (lambda: memory(sampler=[10]), DataError, "0 <= number < 10"),
        (lambda: memory(sampler=[]), ArgumentError, "sample numbers"),
        (lambda: ds.SubsetSampler([0.5]), ArgumentError, "sample numbers"),
        (lambda: ds.RandomSampler(num_samples=0), ArgumentError, "num_samples"),
        (lambda: ds.WeightedRandomSampler([1, -1]), ArgumentError, "cannot be drawn from"),
        (lambda: ds.WeightedRandomSampler([0, 1], 2, False), ArgumentError, "at least 2 are positive"),
        (lambda: memory(sampler=ds.WeightedRandomSampler([1, 2])), DataError, "10 weights"),
        (
            lambda: memory(sampler=ds.RandomSampler(num_samples=3)).split([2, 1]),
            ArgumentError,
            "one part to another",
        ),
        (lambda: stream().shuffle(5).split([5, 5], randomize=False), ArgumentError, "one part to another"),
        (
            lambda: next(iter(ragged().padded_batch(2, pad_info={"y": (None, 0)}))),
            DataError,
            "add it to pad_info",
        ),
        (lambda: next(iter(ragged().padded_batch(2, pad_info={"x": ([2, 2], 0)}))), DataError, "1 lengths"),
        (lambda: ragged().padded_batch(2, pad_info={"x": ([0], 0)}), ArgumentError, "unusable pad_info"),
        (lambda: ragged().padded_batch(2, pad_info={"z": ([1], 0)}), ArgumentError, r"column \(x, y\)"),
        (lambda: ragged().padded_batch(2, pad_info={"x": (5, 0)}), ArgumentError, "unusable pad_info"),
        (lambda: memory().flat_map(lambda row: 3), ArgumentError, "a dataset for every row"),
        (lambda: memory().repeat().flat_map(lambda row: memory()), ArgumentError, "never ends"),
        (lambda: stream(0).output_shapes(), DataError, "is empty"),
        (lambda: ds.GeneratorDataset(stream, "x", schema=3), ArgumentError, "schema is not supported"),
        (lambda: ds.GeneratorDataset(stream, "x", timeout=-1), ArgumentError, "timeout"),
        (
            lambda: ds.GeneratorDataset(lambda: iter([{"a": 1}]), "x").output_shapes(),
            DataError,
            "gave no column 'x'",
        ),
    ],
)
def test_wrong_use_is_explained(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_rows_may_be_dicts():
    rows = [{"y": k, "x": np.float32(k), "more": "text"} for k in range(3)]
    assert column(ds.GeneratorDataset(rows, ["x", "y"], shuffle=False).batch(3)) == [[0, 1, 2]]
