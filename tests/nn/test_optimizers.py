"""Optimizers against the formulas of their docstrings, written out in NumPy; eager and compiled."""

import numpy as np
import pytest

import graphrt
from graphrt import Parameter, Tensor, nn
from graphrt.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(2)
START = RNG.standard_normal((3, 2)).astype(np.float32)
GRADS = RNG.standard_normal((5, 3, 2)).astype(np.float32)


def run(make, compiled, grads=GRADS):
    weight = Parameter(START, name="w")
    optimizer = make([weight])
    call = graphrt.compile(lambda g: optimizer((g,))) if compiled else (lambda g: optimizer((g,)))
    for g in grads:
        call(Tensor(g))
    assert optimizer.global_step.asnumpy() == len(grads) and optimizer.global_step.dtype.name == "int32"
    return weight.asnumpy(), optimizer


def sgd(w, lr=0.1, m=0.0, dampening=0.0, decay=0.0, nesterov=False):
    accum = None
    for g in GRADS.astype(np.float64):
        g = g + decay * w
        accum = g if accum is None else m * accum + (1 - dampening) * g
        w = w - lr * ((g + m * accum if nesterov else accum) if m else g)
    return w


def momentum(w, lr, u, decay=0.0, nesterov=False, scale=1.0):
    v = np.zeros_like(w)
    for g in GRADS.astype(np.float64):
        g = g / scale + decay * w
        v = u * v + g
        w = w - lr * (g + u * v if nesterov else v)
    return w


def adam(w, lr=1e-3, b1=0.9, b2=0.999, eps=1e-8, decay=0.0, amsgrad=False):
    m, v, largest = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(GRADS.astype(np.float64), 1):
        g = g + decay * w
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        largest = np.maximum(largest, v)
        rate = lr * np.sqrt(1 - b2**t) / (1 - b1**t)
        w = w - rate * m / (np.sqrt(largest if amsgrad else v) + eps)
    return w


CASES = {
    "sgd": (lambda p: nn.SGD(p), lambda w: sgd(w)),
    "sgd momentum": (lambda p: nn.SGD(p, 0.05, 0.9), lambda w: sgd(w, 0.05, 0.9)),
    "sgd dampening": (lambda p: nn.SGD(p, 0.05, 0.9, 0.3), lambda w: sgd(w, 0.05, 0.9, 0.3)),
    "sgd nesterov decay": (
        lambda p: nn.SGD(p, 0.05, 0.9, weight_decay=0.1, nesterov=True),
        lambda w: sgd(w, 0.05, 0.9, decay=0.1, nesterov=True),
    ),
    "momentum": (lambda p: nn.Momentum(p, 0.01, 0.9), lambda w: momentum(w, 0.01, 0.9)),
    "momentum nesterov": (
        lambda p: nn.Momentum(p, 0.01, 0.9, weight_decay=0.1, loss_scale=4.0, use_nesterov=True),
        lambda w: momentum(w, 0.01, 0.9, 0.1, True, 4.0),
    ),
    "adam": (lambda p: nn.Adam(p), lambda w: adam(w)),
    "adam settings": (
        lambda p: nn.Adam(p, 0.1, 0.8, 0.9, 1e-3, weight_decay=0.1), lambda w: adam(w, 0.1, 0.8, 0.9, 1e-3, 0.1),
    ),
    "adam amsgrad": (lambda p: nn.Adam(p, 0.1, use_amsgrad=True), lambda w: adam(w, 0.1, amsgrad=True)),
}  # fmt: skip


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("case", CASES)
def test_formula(case, compiled):
    make, formula = CASES[case]
    weight, _ = run(make, compiled)
    np.testing.assert_allclose(weight, formula(START.astype(np.float64)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(
    "rates", [[0.1, 0.2, 0.3], (0.1, 0.2, 0.3), Tensor([0.1, 0.2, 0.3])], ids=["list", "tuple", "tensor"]
)
def test_learning_rate_per_step_ends_with_its_last_value(rates, compiled):
    weight, _ = run(lambda p: nn.SGD(p, rates), compiled)
    expected = START - sum(r * g for r, g in zip([0.1, 0.2, 0.3, 0.3, 0.3], GRADS))
    np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)


def test_learning_rate_is_a_parameter_and_changes_without_compiling():
    weight = Parameter(np.zeros(2, np.float32), name="w")
    optimizer = graphrt.compile(nn.SGD([weight], 0.5))
    ones = Tensor(np.ones(2, np.float32))
    optimizer((ones,))
    optimizer.learning_rate.set_data(0.25)
    optimizer((ones,))
    assert weight.tolist() == [-0.75, -0.75] and len(optimizer.specialisations) == 1


def test_learning_rate_schedule():
    class Half(nn.Cell):
        def construct(self, step):
            return 1.0 / (step + 1)

    weight = Parameter(np.zeros(1, np.float32), name="w")
    optimizer = nn.SGD([weight], Half())
    for _ in range(2):
        optimizer((Tensor(np.ones(1, np.float32)),))
    assert weight.tolist() == [-1.5]


def test_weight_decay_skips_beta_and_gamma_unless_grouped():
    def make():
        return [Parameter(np.ones(1, np.float32), name=name) for name in ("fc.weight", "bn.gamma", "bn.beta")]

    zeros = (Tensor(np.zeros(1, np.float32)),) * 3
    parameters = make()
    nn.SGD(parameters, 1.0, weight_decay=0.5)(zeros)
    assert [p.item() for p in parameters] == [0.5, 1.0, 1.0]
    parameters = make()
    groups = [{"params": parameters[1:], "weight_decay": 0.25, "lr": 2.0}, {"params": parameters[:1]}]
    nn.SGD([*groups, {"order_params": parameters}], 1.0, weight_decay=0.5)(zeros)
    assert [p.item() for p in parameters] == [0.5, 0.5, 0.5]


def test_the_steps_before_the_formula_have_names_for_own_optimizers():
    w, g = Parameter(np.ones((2, 3), np.float32), name="w"), np.arange(6, dtype=np.float32).reshape(2, 3)
    group = {"params": [w], "weight_decay": 0.5, "grad_centralization": True}
    optimizer = nn.SGD([group], 0.1, loss_scale=4.0)
    assert np.array_equal(optimizer.scale_grad((Tensor(g),))[0].asnumpy(), g / 4)
    assert np.array_equal(optimizer.decay_weight((Tensor(g),))[0].asnumpy(), g + 0.5)
    (centred,) = optimizer.gradients_centralization((Tensor(g),))
    assert np.array_equal(centred.asnumpy(), [[-1, 0, 1], [-1, 0, 1]])
    assert optimizer.get_weight_decay() == (0.5,)


def test_states_are_named_after_their_parameters():
    net = nn.SequentialCell(nn.Dense(2, 1))
    adam = nn.Adam(net.trainable_params())
    assert list(adam.parameters_dict()) == [
        "global_step", "learning_rate", "beta1_power", "beta2_power",
        "moment1.0.weight", "moment1.0.bias", "moment2.0.weight", "moment2.0.bias",
    ]  # fmt: skip
    assert adam.trainable_params() == []
    assert [p.name for p in adam.parameters] == ["0.weight", "0.bias"]
    assert "moments.0.bias" in nn.Momentum(iter(net.trainable_params()), 0.1, 0.9).parameters_dict()


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: nn.SGD([], 0.1), "no parameters given"),
        (lambda: nn.SGD([Tensor(1.0)], 0.1), "every parameter must be a Parameter"),
        (lambda: nn.SGD([Parameter(1.0), Parameter(2.0)], 0.1), "two parameters have the same name"),
        (lambda: nn.SGD([Parameter(1.0)], -0.1), "the learning rate must be finite and not negative"),
        (lambda: nn.SGD([Parameter(1.0)], []), "the learning rate must be finite and not negative"),
        (lambda: nn.SGD([Parameter(1.0)], 0.1, nesterov=True), "nesterov needs momentum"),
        (lambda: nn.Momentum([Parameter(1.0)], 0.1, -0.9), "momentum out of range"),
        (lambda: nn.Adam([Parameter(1.0)], beta1=1.0), "beta1 out of range"),
        (lambda: nn.Adam([Parameter(1.0)], loss_scale=0.0), "loss_scale out of range"),
        (lambda: nn.SGD([{"params": [Parameter(1.0)], "rate": 1}], 0.1), "unknown entry in a parameter group"),
    ],
)  # fmt: skip
def test_bad_settings(make, text):
    with pytest.raises(ArgumentError, match=text):
        make()


def test_gradients_that_do_not_fit():
    optimizer = nn.SGD([Parameter(START, name="w")], 0.1)
    with pytest.raises(ArgumentError, match="one gradient per parameter is needed"):
        optimizer(())
    with pytest.raises(ShapeError, match="the gradient of w has another shape"):
        optimizer((Tensor(1.0),))
