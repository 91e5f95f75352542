"""Gradient accumulation and clipping inside the native step."""

from dataclasses import replace

import numpy as np
import pytest

import graphrt
from graphrt import dataset as ds
from graphrt import nn, ops
from graphrt.errors import ArgumentError
from graphrt.train import Model

from .conftest import Net, weights


def in_order(points, batch_size, **options):
    return ds.NumpySlicesDataset(points, ["x", "y"], shuffle=False).batch(batch_size, **options)


def model_with(optimizer, **arguments):
    graphrt.set_seed(0)
    net = Net()
    return Model(net, nn.CrossEntropyLoss(), optimizer(net.trainable_params()), **arguments)


OPTIMIZERS = {
    "SGD": lambda p: nn.SGD(p, 0.1, weight_decay=0.01),
    "Momentum": lambda p: nn.Momentum(p, 0.1, 0.9),
    "Adam": lambda p: nn.Adam(p, 0.01),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=list(OPTIMIZERS))
def test_equals_one_batch_that_much_larger(points, optimizer, engine):
    """Three passes of 4 batches of 5, two or four at a time."""
    for count in (2, 4):
        small, large = model_with(optimizer), model_with(optimizer)
        losses = small.train(3, in_order(points, 5), accumulate=count).losses
        expected = large.train(3, in_order(points, 5 * count)).losses
        np.testing.assert_allclose(losses.reshape(-1, count).mean(1), expected, rtol=2e-6)
        for name, value in weights(large).items():
            np.testing.assert_allclose(weights(small)[name], value, rtol=2e-5, atol=1e-7, err_msg=name)
        assert int(small._parts.optimizer.global_step.asnumpy()) == 12 // count


def test_nothing_changes_before_the_group_is_full(points):
    model = model_with(OPTIMIZERS["Adam"])
    data, before = in_order(points, 5), weights(model)
    model.train(1, data, accumulate=3, sink_size=2)
    assert all(np.array_equal(before[name], value) for name, value in weights(model).items())
    state = {p.name: p.asnumpy() for p in model._parts.optimizer.get_parameters()}
    assert int(state["global_step"]) == 0 and all(not v.any() for n, v in state.items() if "moment" in n)
    model.train(1, data, accumulate=3, sink_size=1)  # the sums wait between calls
    assert any(not np.array_equal(before[name], value) for name, value in weights(model).items())


def test_does_not_depend_on_how_steps_are_cut(points):
    whole, cut = model_with(OPTIMIZERS["Momentum"]), model_with(OPTIMIZERS["Momentum"])
    expected = whole.train(3, in_order(points, 6), accumulate=3).losses  # with a ragged batch of 2
    data = in_order(points, 6)
    parts = [cut.train(1, data, sink_size=k, accumulate=3).losses for k in (1, 4, 2, 5)]
    assert np.concatenate(parts).tobytes() == expected.tobytes()
    for name, value in weights(whole).items():
        assert np.array_equal(weights(cut)[name], value), name


def test_another_count_starts_anew(points):
    model = model_with(OPTIMIZERS["SGD"])
    model.train(1, in_order(points, 5), accumulate=3, sink_size=2)
    model.train(1, in_order(points, 5), accumulate=2, sink_size=1)
    model.train(1, in_order(points, 5), accumulate=3, sink_size=2)
    assert int(model._parts.optimizer.global_step.asnumpy()) == 0
    model.train(1, in_order(points, 5), sink_size=1)
    assert int(model._parts.optimizer.global_step.asnumpy()) == 1


def test_resumed_in_the_middle_of_a_group(points, tmp_path):
    from graphrt.train import CheckpointConfig, ModelCheckpoint

    def run(epochs, folder, **arguments):
        model = model_with(OPTIMIZERS["Adam"])
        saving = ModelCheckpoint(directory=str(folder), config=CheckpointConfig(save_checkpoint_steps=4))
        model.train(epochs, in_order(points, 5), saving, accumulate=3, **arguments)  # 4 steps per epoch
        return weights(model)

    expected = run(3, tmp_path / "whole")
    run(1, tmp_path / "parts")
    resumed = run(3, tmp_path / "parts", resume=tmp_path / "parts")
    assert all(np.array_equal(resumed[name], value) for name, value in expected.items())


def test_batch_statistics_move_with_every_batch(points):
    def make():
        graphrt.set_seed(0)
        net = nn.SequentialCell(nn.Dense(4, 4), nn.BatchNorm1d(4), nn.Dense(4, 2))
        return Model(net, nn.CrossEntropyLoss(), nn.SGD(net.trainable_params(), 0.1))

    accumulated, frozen = make(), make()
    frozen._parts.optimizer.learning_rate.set_data(0.0)
    accumulated.train(1, in_order(points, 5), accumulate=4)
    frozen.train(1, in_order(points, 5))
    name = next(name for name in weights(frozen) if "moving_mean" in name)
    assert np.array_equal(weights(accumulated)[name], weights(frozen)[name])


def test_accumulation_needs_an_optimizer(points):
    net = Net()
    step = nn.TrainOneStepCell(
        nn.WithLossCell(net, nn.CrossEntropyLoss()), nn.SGD(net.trainable_params(), 0.1)
    )
    with pytest.raises(ArgumentError) as caught:
        Model(step).train(1, in_order(points, 5), accumulate=2)
    assert str(caught.value) == (
        "Model.train: accumulate needs the model's optimizer, but the network is a whole training step\n"
        f"  at:       {caught.value.at}\n"
        "  given:    accumulate=2\n"
        "  fix:      pass network, loss_fn and optimizer to Model, or accumulate in your training step"
    )
    with pytest.raises(ArgumentError, match="accumulate must be a positive int"):
        model_with(OPTIMIZERS["SGD"]).train(1, in_order(points, 5), accumulate=0)


# ------------------------------------------------------------------------------------------------------ clipping


def one_step(points, **arguments):
    """Gradients that plain descent at rate 1 applied, by parameter."""
    model = model_with(lambda p: nn.SGD(p, 1.0), **arguments)
    before = weights(model)
    model.train(1, in_order(points, 20))
    return {name: before[name] - value for name, value in weights(model).items()}


def test_clipping_follows_its_formulas(points, engine):
    plain = {name: g.astype(np.float64) for name, g in one_step(points).items()}
    length = np.sqrt(sum(np.square(g).sum() for g in plain.values()))
    limit = float(np.median(np.abs(np.concatenate([g.ravel() for g in plain.values()]))))
    assert length > 0.05 and limit > 0
    by_norm = one_step(points, clip_norm=0.05)
    by_value = one_step(points, clip_value=limit)
    both = one_step(points, clip_value=limit, clip_norm=0.01)
    clipped = {name: np.clip(g, -limit, limit) for name, g in plain.items()}
    clipped_length = np.sqrt(sum(np.square(g).sum() for g in clipped.values()))
    for name, g in plain.items():
        np.testing.assert_allclose(by_norm[name], g * 0.05 / length, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(by_value[name], clipped[name], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(both[name], clipped[name] * 0.01 / clipped_length, rtol=1e-3, atol=1e-6)
    loose = one_step(points, clip_norm=1e3)
    for name, g in plain.items():
        np.testing.assert_allclose(loose[name], g, rtol=1e-4, atol=1e-6)


def test_the_mean_of_accumulated_gradients_is_clipped(points):
    one, many = (model_with(lambda p: nn.SGD(p, 1.0), clip_norm=0.05) for _ in range(2))
    one.train(1, in_order(points, 20))
    many.train(1, in_order(points, 5), accumulate=4)
    for name, value in weights(one).items():
        np.testing.assert_allclose(weights(many)[name], value, rtol=1e-5, atol=1e-6)


def test_options_that_exclude_each_other():
    from graphrt import amp

    net = Net()
    optimizer = nn.SGD(net.trainable_params(), 0.1, loss_scale=4.0)
    manager = amp.FixedLossScaleManager(4.0, drop_overflow_update=False)
    with pytest.raises(ArgumentError) as caught:
        Model(net, nn.MSELoss(), optimizer, loss_scale_manager=manager, clip_norm=1.0)
    assert str(caught.value) == (
        "Model: gradients would be clipped while they are scaled by the loss scale\n"
        f"  at:       {caught.value.at}\n"
        "  given:    clipping and drop_overflow_update=False\n"
        "  fix:      give the loss scale manager drop_overflow_update=True"
    )
    with pytest.raises(
        ArgumentError, match="the loss is scaled before the backward pass, but there is no optimizer"
    ):
        Model(net, loss_scale_manager=manager)
    Model(net, nn.MSELoss(), optimizer, loss_scale_manager=manager)


@pytest.mark.parametrize("limit", [0, -1.0, "1", True])
def test_unusable_limits(limit):
    net = Net()
    for name in ("clip_value", "clip_norm"):
        with pytest.raises(ArgumentError, match=f"{name} must be a positive number or None"):
            Model(net, nn.MSELoss(), nn.SGD(net.trainable_params(), 0.1), **{name: limit})
    with pytest.raises(ArgumentError, match="there is no optimizer"):
        Model(net, clip_norm=1.0)


# --------------------------------------------------------------------------------- written by the user, as in MindSpore


class Accumulator:
    """Gradient accumulation as MindSpore's tutorial writes it."""

    def __init__(self, optimizer, accumulate_step):
        self.optimizer = optimizer
        self.inner_grads = optimizer.parameters.clone(prefix="accumulate_", init="zeros")
        self.zeros = optimizer.parameters.clone(prefix="zeros_", init="zeros")
        self.counter = graphrt.Parameter(graphrt.Tensor(1, graphrt.int32), "counter_")
        self.accumulate_step = accumulate_step
        self.map = ops.HyperMap()

    def __call__(self, grads):
        self.map(ops.partial(ops.assign_add), self.inner_grads, grads)
        if self.counter % self.accumulate_step == 0:
            self.optimizer(self.inner_grads)
            self.map(ops.partial(ops.assign), self.inner_grads, self.zeros)
        ops.assign_add(self.counter, graphrt.Tensor(1, graphrt.int32))
        return True


def tutorial(optimizer, compiled):
    """Network, and the tutorial's training step with an Accumulator over two batches."""
    graphrt.set_seed(0)
    net, loss_fn = Net(), nn.CrossEntropyLoss()
    accumulator = Accumulator(optimizer(net.trainable_params()), 2)
    net.set_train()

    def forward_fn(inputs, targets):
        return loss_fn(net(inputs), targets) / 2

    grad_fn = graphrt.value_and_grad(forward_fn, None, net.trainable_params())

    def train_step(inputs, targets):
        loss, grads = grad_fn(inputs, targets)
        accumulator(grads)
        return loss

    return net, accumulator, graphrt.compile(train_step) if compiled else train_step


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=list(OPTIMIZERS))
def test_the_accumulator_of_the_tutorial(points, optimizer, engine):
    """Op by op Python decides when the optimizer runs; compiled, both sides are computed and one is taken."""
    ready = model_with(optimizer)
    ready.train(2, in_order(points, 5), accumulate=2)
    ends = []
    for compiled in (False, True):
        net, accumulator, train_step = tutorial(optimizer, compiled)
        for number, (inputs, targets) in enumerate(in_order(points, 5).repeat(2).create_tuple_iterator(), 1):
            train_step(inputs, targets)
            assert accumulator.optimizer.global_step.item() == number // 2
            assert any(g.asnumpy().any() for g in accumulator.inner_grads) == (number % 2 == 1)
        ends.append({name: p.asnumpy() for name, p in net.parameters_dict().items()})
        assert accumulator.counter.item() == 9
    for name, value in weights(ready).items():
        np.testing.assert_allclose(ends[0][name], value, rtol=2e-5, atol=1e-7)
        if engine == "interpreter":  # the same operations in the same order
            assert ends[0][name].tobytes() == ends[1][name].tobytes(), name
        else:  # sums in another order
            np.testing.assert_allclose(ends[1][name], ends[0][name], rtol=1e-5, atol=1e-7)


def test_a_training_step_that_decides_in_a_sink(points, engine):
    """The network of the Model is a whole training step with an Accumulator in it."""

    class AccumulatingStep(nn.TrainOneStepCell):
        def __init__(self, network, optimizer):
            super().__init__(network, optimizer)
            self.accumulate = Accumulator(optimizer, 2)

        def construct(self, x, y):
            loss, grads = graphrt.value_and_grad(lambda a, b: self.network(a, b) / 2, None, self.weights)(
                x, y
            )
            self.accumulate(grads)
            return loss * 2

    ready = model_with(OPTIMIZERS["Momentum"])
    expected = ready.train(2, in_order(points, 5), accumulate=2).losses
    graphrt.set_seed(0)
    net = Net()
    optimizer = OPTIMIZERS["Momentum"](net.trainable_params())
    model = Model(AccumulatingStep(nn.WithLossCell(net, nn.CrossEntropyLoss()), optimizer))
    np.testing.assert_allclose(model.train(2, in_order(points, 5)).losses, expected, rtol=2e-5)
    assert optimizer.global_step.item() == 4


class CarefulStep(nn.TrainOneStepCell):
    """As MindSpore programs write their own step; it leaves out the update where the loss is small."""

    def __init__(self, network, optimizer, least):
        super().__init__(network, optimizer, sens=2.0)
        self.least = least

    def construct(self, *inputs):
        loss = self.network(*inputs)
        sens = ops.fill(loss.dtype, loss.shape, self.sens)
        grads = self.grad_reducer(self.grad(self.network, self.weights)(*inputs, sens))
        if loss < self.least:
            return loss
        return ops.depend(loss, self.optimizer(grads))


def test_a_step_of_ones_own_that_may_leave_out_the_update(points, engine):
    """Losses and weights as op by op, where Python decides; with dropout, so one forward must serve both uses."""
    ends = []
    for sinks in (True, False):
        graphrt.set_seed(3)
        net = nn.SequentialCell(nn.Dense(4, 8), nn.Tanh(), nn.Dropout(p=0.2), nn.Dense(8, 2))
        optimizer = nn.SGD(net.trainable_params(), 0.5, loss_scale=2.0)
        step = CarefulStep(nn.WithLossCell(net, nn.CrossEntropyLoss()), optimizer, 0.6)
        if sinks:
            losses = Model(step).train(6, in_order(points, 5)).losses
        else:
            step.set_train()
            data = in_order(points, 5).repeat(6).create_tuple_iterator()
            losses = np.array([step(*batch).item() for batch in data], np.float32)
        ends.append((losses, [p.asnumpy() for p in step.get_parameters()], optimizer.global_step.item()))
    (losses, parameters, updates), (expected, expected_parameters, expected_updates) = ends
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    for value, wanted in zip(parameters, expected_parameters):
        np.testing.assert_allclose(value, wanted, rtol=1e-3, atol=1e-6)
    assert updates == expected_updates == (losses >= 0.6).sum() and 0 < updates < 24


def test_with_loss_scaling(points):
    """A batch that overflows is left out of its group: the next one takes its place."""
    from graphrt import amp

    def make():
        manager = amp.DynamicLossScaleManager(init_loss_scale=2.0**10, scale_factor=2, scale_window=1000)
        return model_with(OPTIMIZERS["Momentum"], loss_scale_manager=manager)

    plain, scaled = model_with(OPTIMIZERS["Momentum"]), make()
    np.testing.assert_allclose(
        scaled.train(2, in_order(points, 5), accumulate=2).losses,
        plain.train(2, in_order(points, 5), accumulate=2).losses,
        rtol=1e-5,
    )
    model, before = make(), weights(make())
    steep = nn.CrossEntropyLoss()
    model._parts = replace(model._parts, loss_fn=lambda output, label: steep(output, label) * 100.0)
    model._parts.loss_scale.scale_sense.set_data(3e38)
    model.train(1, in_order(points, 5), accumulate=2, sink_size=2)
    assert int(model._parts.optimizer.global_step.asnumpy()) == 0
    assert int(model._parts.accumulation.batches.asnumpy()) == 0
    assert all(np.array_equal(before[name], value) for name, value in weights(model).items())
