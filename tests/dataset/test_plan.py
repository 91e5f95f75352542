"""Which pipelines the native loop can read as whole columns, and what it is told about them."""

import numpy as np

import graphrt
from graphrt import dataset as ds

vision, transforms = ds.vision, ds.transforms


def images(count=10, **options):
    data = {"image": np.arange(count * 4, dtype=np.uint8).reshape(count, 2, 2, 1), "label": np.arange(count)}
    return ds.NumpySlicesDataset(data, **options)


def test_plan_of_a_typical_pipeline():
    graphrt.set_seed(5)
    dataset = images().map([vision.Resize((4, 2)), vision.Rescale(0.5, 0.0), vision.HWC2CHW()], "image")
    dataset = dataset.map(transforms.TypeCast(graphrt.int32), "label")
    plan = ds.resident_plan(dataset.shuffle(100).batch(4).repeat(3))
    # resizing keeps the element type and was done once; what widens to float32 stays in the step
    assert plan.columns["image"].dtype == np.uint8 and plan.columns["image"].shape == (10, 4, 2, 1)
    assert plan.transforms["image"] == (vision.Rescale(0.5, 0.0), vision.HWC2CHW())
    assert plan.columns["label"].dtype == np.int32 and plan.transforms["label"] == ()
    assert (plan.size, plan.batch_size, plan.ragged_size, plan.repeat, plan.seed) == (10, 4, 2, 3, 5)
    assert plan.steps_per_pass == 3 and plan.steps_per_epoch == 9 and plan.shuffle


def test_plan_reads_the_batches_iteration_gives():
    graphrt.set_seed(5)
    dataset = (
        images()
        .map([vision.HWC2CHW(), vision.Rescale(0.5, 1.0)], "image", "x")
        .project(["label", "x"])
        .batch(4)
    )
    plan = ds.resident_plan(dataset)
    assert list(plan.columns) == ["label", "x"]
    order = dataset._parent._table().order(0)
    for k, (label, x) in enumerate(dataset.create_tuple_iterator(output_numpy=True)):
        indices = order[4 * k : 4 * k + 4]
        batch = plan.columns["x"][indices]
        for transform in plan.transforms["x"]:
            batch = transform.batch(batch)
        assert np.array_equal(batch, x) and np.array_equal(plan.columns["label"][indices], label)


def test_ordered_pipelines_may_be_cut():
    plan = ds.resident_plan(images(shuffle=False).skip(2).take(5).batch(2, drop_remainder=True))
    assert plan.size == 5 and plan.ragged_size == 0 and plan.steps_per_pass == 2 and not plan.shuffle
    assert plan.columns["label"].tolist() == [2, 3, 4, 5, 6]


def test_pipelines_that_need_python():
    assert ds.resident_plan(images()) is None
    assert ds.resident_plan(images().map(lambda x: x, "image").batch(2)) is None
    assert ds.resident_plan(images().take(3).batch(2)) is None  # other samples each pass
    assert ds.resident_plan(images().repeat(2).batch(4)) is None  # batches cross the end of a pass
    assert ds.resident_plan(images().batch(2).take(1)) is None
    assert ds.resident_plan(ds.GeneratorDataset(lambda: iter(range(3)), "x").batch(2)) is None


def test_a_pipeline_without_samples_has_no_plan():
    nothing = images().filter(lambda x, y: False).batch(2)
    assert ds.resident_plan(nothing) is None and len(nothing) == 0 and list(nothing) == []


def test_one_compiled_step_serves_plans_of_one_signature():
    graphrt.set_seed(1)
    assert ds.resident_plan(images().batch(2)).signature() == ds.resident_plan(images().batch(2)).signature()
    assert ds.resident_plan(images().batch(2)).signature() != ds.resident_plan(images().batch(3)).signature()
    one, other = (images().map(vision.Rescale(f, 0.0), "image").batch(2) for f in (1.0, 2.0))
    assert ds.resident_plan(one).signature() != ds.resident_plan(other).signature()


def test_columns_are_contiguous():
    strided = np.zeros((6, 8), np.float32)[:, ::2]
    plan = ds.resident_plan(ds.NumpySlicesDataset(strided).batch(2))
    assert plan.columns["column_0"].flags.c_contiguous
