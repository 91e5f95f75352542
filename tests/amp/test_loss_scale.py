"""Loss scaling: by hand, in Cells, in `Model`'s native sink; against the rule written out in Python."""

import warnings

import numpy as np
import pytest

import graphrt
from graphrt import Parameter, Tensor, amp, nn, ops

RNG = np.random.default_rng(6)
X, Y = RNG.standard_normal((32, 3)).astype(np.float32), RNG.standard_normal((32, 2)).astype(np.float32)


@pytest.fixture(autouse=True)
def settings():
    with graphrt.set_context(mode=graphrt.PYNATIVE_MODE):
        graphrt.set_seed(2)
        yield


def moved(scale, overflows, factor=2.0, window=3):
    """The factor after each step."""
    found, clean = [], 0
    for overflow in overflows:
        clean = 0 if overflow else clean + 1
        if overflow:
            scale = max(scale / factor, 1.0)
        elif clean == window:
            scale, clean = scale * factor, 0
        found.append(scale)
    return found


OVERFLOWS = [0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_dynamic_scaler(compiled):
    scaler = amp.DynamicLossScaler(8.0, 2.0, 3)
    adjust = graphrt.compile(lambda f: scaler.adjust(f)) if compiled else scaler.adjust
    found = []
    for overflow in OVERFLOWS:
        adjust(Tensor(np.asarray(not overflow)))
        found.append(scaler.scale_value.item())
    assert found == moved(8.0, OVERFLOWS)
    assert scaler.scale_value.name == "scale_value" and scaler.counter.name == "counter"
    both = scaler.scale((Tensor([1.0]), [Tensor([2.0])]))
    assert both[1][0].item() == 2.0 * found[-1] and scaler.unscale(both)[0].item() == 1.0


def test_static_scaler_and_all_finite():
    scaler = amp.StaticLossScaler(4.0)
    assert scaler.scale(Tensor(3.0)).item() == 12.0 and scaler.unscale((Tensor(3.0),))[0].item() == 0.75
    assert scaler.adjust(Tensor(False)) is False and scaler.scale_value.item() == 4.0
    good, bad = Tensor([1.0, 2.0]), Tensor([1.0, np.inf])
    assert bool(amp.all_finite((good, [good]))) and not bool(amp.all_finite([good, (bad,)]))
    assert not bool(amp.all_finite(Tensor(np.nan)))


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_update_where_leaves_everything_alone(compiled):
    weight, other = (
        Parameter(np.ones(2, np.float32), name="w"),
        Parameter(np.zeros((), np.float32), name="other"),
    )
    optimizer = nn.Adam([weight], 0.1)

    def step(go, grad):
        ops.assign_add(other, 1.0)
        amp.update_where(go, optimizer, (grad,))
        return weight + 0.0

    call = graphrt.compile(step) if compiled else step
    grad = Tensor(np.array([1.0, -1.0], np.float32))
    assert call(Tensor(np.asarray(False)), grad).tolist() == [1.0, 1.0]
    assert optimizer.global_step.item() == 0 and optimizer.beta1_power.item() == 1.0 and other.item() == 1.0
    assert not optimizer.moment1[0].asnumpy().any()
    np.testing.assert_allclose(call(Tensor(np.asarray(True)), grad).asnumpy(), [0.9, 1.1], rtol=1e-5)
    assert optimizer.global_step.item() == 1


class Overflows(nn.Cell):
    """A loss whose gradient is infinite once its factor exceeds `limit`."""

    def __init__(self, limit):
        super().__init__()
        self.w, self.limit = Parameter(np.ones((), np.float32), name="w"), limit

    def construct(self, x):
        # a product in float16: its largest number is 65504
        return ops.cast(ops.cast(self.w * x, "float16") * (65504 / self.limit), "float32")


@pytest.mark.parametrize("engine", ["native", "interpreter"])
def test_dynamic_scale_finds_its_way_down(engine):
    net = Overflows(100.0)
    optimizer = nn.SGD(net.trainable_params(), 0.0)
    step = nn.TrainOneStepWithLossScaleCell(net, optimizer, nn.DynamicLossScaleUpdateCell(1024.0, 2, 4))
    with graphrt.set_context(engine=engine):
        call = graphrt.compile(step.set_train())
        results = [call(Tensor(np.float32(1.0))) for _ in range(14)]
    overflows = [bool(overflow.asnumpy()) for _, overflow, _ in results]
    used = [scale.item() for _, _, scale in results]
    assert overflows == [scale > 100.0 for scale in used]
    assert used == [1024.0, *moved(1024.0, overflows, window=4)[:-1]]
    assert optimizer.global_step.item() == overflows.count(False)
    assert step.scale_sense.item() == moved(1024.0, overflows, window=4)[-1]
    assert [p.name for p in step.loss_scale.get_parameters()] == ["scale_sense", "clean_steps"]


def train(level, manager, dtype=graphrt.bfloat16, engine="native", **settings):
    from graphrt.dataset import NumpySlicesDataset

    graphrt.set_seed(2)
    net = nn.SequentialCell(nn.Dense(3, 8), nn.ReLU(), nn.Dense(8, 2))
    data = NumpySlicesDataset((X, Y), ["x", "y"], shuffle=False).batch(8)
    optimizer = nn.Momentum(net.trainable_params(), 0.05, 0.9, **settings)
    kwargs = {} if manager is None else {"loss_scale_manager": manager}
    with graphrt.set_context(engine=engine):
        model = graphrt.Model(net, nn.MSELoss(), optimizer, amp_level=level, amp_dtype=dtype, **kwargs)
        history = model.train(3, data, sink_size=8, progress=False)
    return net, optimizer, np.array(history.losses if hasattr(history, "losses") else history), model


@pytest.mark.parametrize("level", ["O1", "O2", "O3", "auto"])
def test_model_trains_in_bfloat16(level):
    full, _, _, _ = train("O0", None)
    net, optimizer, _, model = train(level, None)
    assert optimizer.global_step.item() == 24 and {p.dtype.name for p in net.get_parameters()} == {"float32"}
    for a, b in zip(net.get_parameters(), full.get_parameters()):
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), atol=0.03)
        assert not np.array_equal(a.asnumpy(), b.asnumpy())
    assert model.predict(Tensor(X)).dtype.name == "float32"


def test_a_scaled_loss_trains_like_an_unscaled_one():
    """A power of two changes no digit in float32."""
    plain = [p.asnumpy() for p in train("O0", None)[0].get_parameters()]
    for manager, settings in (
        (amp.DynamicLossScaleManager(1024.0, 2, 5), {}),
        (amp.FixedLossScaleManager(256.0), {}),
        (amp.FixedLossScaleManager(256.0, drop_overflow_update=False), {"loss_scale": 256.0}),
    ):
        net, optimizer, _, _ = train("O0", manager, **settings)
        assert optimizer.global_step.item() == 24
        for a, b in zip(net.get_parameters(), plain):
            np.testing.assert_allclose(a.asnumpy(), b, rtol=1e-6, atol=1e-7)


def test_an_optimizer_that_does_not_divide_by_the_fixed_factor_is_mentioned():
    net = nn.Dense(3, 2)
    manager = amp.FixedLossScaleManager(128.0, drop_overflow_update=False)
    with pytest.warns(
        UserWarning, match=r"multiplied by 128, .*divides its gradients by 1: .*loss_scale=128"
    ):
        graphrt.Model(net, nn.MSELoss(), nn.SGD(net.trainable_params(), 0.1), loss_scale_manager=manager)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = nn.SGD(net.trainable_params(), 0.1, loss_scale=128.0)
        graphrt.Model(net, nn.MSELoss(), right, loss_scale_manager=manager)


def test_float16_overflows_are_skipped_inside_the_native_sink():
    """2^24 overflows float16 at first: those steps change nothing and the factor comes down, step by step."""
    net, optimizer, _, model = train("O2", amp.DynamicLossScaleManager(), graphrt.float16)
    scale = model._parts.loss_scale.scale_sense
    skipped = 24 - int(optimizer.global_step.asnumpy())
    assert 0 < skipped < 24 and scale.item() == 2.0 ** (24 - skipped)
    reference, other, _, _ = train("O2", amp.DynamicLossScaleManager(), graphrt.float16, "interpreter")
    assert other.global_step.item() == optimizer.global_step.item()
    for a, b in zip(net.get_parameters(), reference.get_parameters()):
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), atol=2e-3)


def test_build_train_network():
    net = nn.Dense(3, 2)
    plain = amp.build_train_network(net, nn.SGD(net.trainable_params(), 0.1), nn.MSELoss())
    assert isinstance(plain, nn.TrainOneStepCell) and plain(Tensor(X), Tensor(Y)).shape == ()
    scaled = amp.build_train_network(
        net, nn.SGD(net.trainable_params(), 0.1), nn.MSELoss(), "O2", dtype=graphrt.float16
    )
    assert isinstance(scaled, nn.TrainOneStepWithLossScaleCell) and scaled.scale_sense.item() == 2**24
    loss, overflow, factor = scaled(Tensor(X), Tensor(Y))
    assert bool(overflow) and factor.item() == 2**24 and np.isfinite(loss.item())
    fixed = amp.FixedLossScaleManager()
    assert fixed.get_loss_scale() == 128.0 and fixed.get_drop_overflow_update()
    assert amp.FixedLossScaleManager(2, False).get_update_cell() is None
    assert amp.DynamicLossScaleManager().get_loss_scale() == 2**24


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_training_step_written_as_a_function(compiled):
    """The usual program: scaled forward, unscaled gradients, an update if they are finite, a moving factor."""
    net = amp.auto_mixed_precision(nn.Dense(3, 2), "O1", graphrt.float16)
    loss_fn, optimizer = nn.MSELoss(), nn.SGD(net.trainable_params(), 0.1)
    scaler = amp.DynamicLossScaler(2.0**20, 2, 50)

    def forward(x, y):
        prediction = net(x)
        return scaler.scale(loss_fn(prediction, y)), prediction

    gradient = graphrt.value_and_grad(forward, None, net.trainable_params(), has_aux=True)

    def step(x, y):
        (loss, _), grads = gradient(x, y)
        grads = scaler.unscale(grads)
        finite = amp.all_finite(grads)
        amp.update_where(finite, optimizer, grads)
        scaler.adjust(finite)
        return scaler.unscale(loss), finite

    call = graphrt.compile(step) if compiled else step
    results = [call(Tensor(X), Tensor(Y)) for _ in range(12)]
    finite = [bool(f.asnumpy()) for _, f in results]
    assert not finite[0] and finite[-1]
    assert optimizer.global_step.item() == sum(finite)
    losses = [loss.item() for (loss, _), went in zip(results, finite) if went]
    assert losses == sorted(losses, reverse=True)
    assert scaler.scale_value.item() == 2.0 ** (20 - finite.count(False))


def test_accumulated_gradients_of_a_scaled_loss():
    from graphrt.dataset import NumpySlicesDataset

    def run(manager):
        graphrt.set_seed(2)
        net = nn.Dense(3, 2)
        optimizer = nn.Momentum(net.trainable_params(), 0.05, 0.9)
        data = NumpySlicesDataset((X, Y), ["x", "y"], shuffle=False).batch(8)
        with graphrt.set_context(engine="native"):
            model = graphrt.Model(net, nn.MSELoss(), optimizer, loss_scale_manager=manager, clip_norm=0.5)
            model.train(1, data, sink_size=8, accumulate=2, progress=False)
        return [p.asnumpy() for p in net.get_parameters()], optimizer.global_step.item()

    scaled, plain = run(amp.FixedLossScaleManager(512.0)), run(None)
    assert scaled[1] == plain[1] == 4
    for a, b in zip(scaled[0], plain[0]):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_names_of_early_releases():
    from graphrt.nn.optim import Momentum
    from graphrt.train.amp import build_train_network
    from graphrt.train.loss_scale_manager import FixedLossScaleManager

    assert graphrt.FixedLossScaleManager is FixedLossScaleManager is amp.FixedLossScaleManager
    assert graphrt.build_train_network is build_train_network and Momentum is nn.Momentum
