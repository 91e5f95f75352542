"""Learning rate schedules and decoupled weight decay against their formulas, eager and compiled, and PyTorch."""

import math

import numpy as np
import pytest

import graphrt
from graphrt import Parameter, Tensor, nn, ops
from graphrt.errors import ArgumentError

RNG = np.random.default_rng(6)
START = RNG.standard_normal((3, 2)).astype(np.float32)
GRADS = RNG.standard_normal((6, 3, 2)).astype(np.float32)

SCHEDULES = {
    "exponential": (nn.ExponentialDecayLR(0.1, 0.9, 4), lambda t: 0.1 * 0.9 ** (t / 4)),
    "exponential stair": (nn.ExponentialDecayLR(0.1, 0.9, 4, True), lambda t: 0.1 * 0.9 ** (t // 4)),
    "natural": (nn.NaturalExpDecayLR(0.1, 0.3, 4), lambda t: 0.1 * math.exp(-0.3 * t)),
    "natural stair": (nn.NaturalExpDecayLR(0.1, 0.3, 4, True), lambda t: 0.1 * math.exp(-0.3 * (t // 4 * 4))),
    "inverse": (nn.InverseDecayLR(0.1, 0.5, 4), lambda t: 0.1 / (1 + 0.5 * t / 4)),
    "inverse stair": (nn.InverseDecayLR(0.1, 0.5, 4, True), lambda t: 0.1 / (1 + 0.5 * (t // 4))),
    "cosine": (
        nn.CosineDecayLR(0.01, 0.1, 8), lambda t: 0.01 + 0.045 * (1 + math.cos(math.pi * min(t, 8) / 8)),
    ),
    "polynomial": (nn.PolynomialDecayLR(0.1, 0.01, 8, 0.5), lambda t: 0.09 * (1 - min(t, 8) / 8) ** 0.5 + 0.01),
    "polynomial again": (
        nn.PolynomialDecayLR(0.1, 0.01, 4, 2.0, True),
        lambda t: 0.09 * (1 - t / (4 * max(1, math.ceil(t / 4)))) ** 2 + 0.01,
    ),
    "warm up": (nn.WarmUpLR(0.1, 5), lambda t: 0.1 * min(t, 5) / 5),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("engine", ["interpreter", "native"])
def test_schedule(name, engine):
    schedule, formula = SCHEDULES[name]
    with graphrt.set_context(engine=engine):
        compiled = graphrt.compile(lambda step: schedule(step))
        for step in (0, 1, 3, 4, 5, 8, 11):
            rate = compiled(Tensor(np.int32(step)))
            assert rate.shape == () and rate.dtype.name == "float32"
            assert rate.item() == pytest.approx(formula(step), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_own_schedule_of_warm_up_and_cosine_inside_the_step(compiled):
    class WarmUpCosine(nn.LearningRateSchedule):
        def __init__(self):
            super().__init__()
            self.warm_up, self.cosine = nn.WarmUpLR(1.0, 2), nn.CosineDecayLR(0.0, 1.0, 4)

        def construct(self, global_step):
            return ops.where(global_step < 2, self.warm_up(global_step), self.cosine(global_step - 2))

    weight = Parameter(np.zeros(1, np.float32), name="w")
    optimizer = nn.SGD([weight], WarmUpCosine())
    call = graphrt.compile(lambda g: optimizer((g,))) if compiled else (lambda g: optimizer((g,)))
    seen = []
    for _ in range(6):
        before = weight.item()
        call(Tensor(np.ones(1, np.float32)))
        seen.append(before - weight.item())
    expected = [0, 0.5] + [0.5 * (1 + math.cos(math.pi * t / 4)) for t in range(4)]
    np.testing.assert_allclose(seen, expected, atol=1e-6)


def test_lists_of_rates():
    close = pytest.approx
    assert nn.piecewise_constant_lr([2, 5], [0.1, 0.05]) == [0.1, 0.1, 0.05, 0.05, 0.05]
    assert nn.exponential_decay_lr(0.1, 0.9, 6, 2, 1) == close([0.1, 0.1, 0.09, 0.09, 0.081, 0.081])
    assert nn.exponential_decay_lr(0.1, 0.9, 4, 1, 2, True) == close([0.1, 0.1, 0.09, 0.09])
    assert nn.natural_exp_decay_lr(0.1, 0.9, 3, 1, 2, True) == close([0.1, 0.1, 0.1 * math.exp(-1.8)])
    assert nn.inverse_decay_lr(0.1, 0.5, 3, 1, 2) == close([0.1, 0.1 / 1.25, 0.1 / 1.5])
    assert nn.cosine_decay_lr(0.01, 0.1, 6, 2, 2) == close([0.1, 0.1, 0.055, 0.055, 0.01, 0.01])
    assert nn.polynomial_decay_lr(0.1, 0.01, 6, 2, 2, 0.5) == close(
        [0.1, 0.1, 0.0736396, 0.0736396, 0.01, 0.01], rel=1e-5
    )
    assert nn.polynomial_decay_lr(0.1, 0.01, 5, 1, 2, 1.0, True) == close([0.1, 0.055, 0.01, 0.0325, 0.01])
    assert nn.dynamic_lr.warmup_lr(0.1, 6, 2, 2) == close([0.0, 0.0, 0.05, 0.05, 0.1, 0.1])


def adam_weight_decay(w, lr=1e-3, b1=0.9, b2=0.999, eps=1e-6, decay=0.0):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for g in GRADS.astype(np.float64):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w = w - lr * (m / (np.sqrt(v) + eps) + decay * w)
    return w


def adamw(w, lr=1e-3, b1=0.9, b2=0.999, eps=1e-8, decay=0.01):
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(GRADS.astype(np.float64), 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w = w * (1 - lr * decay)
        w = w - lr / (1 - b1**t) * m / (np.sqrt(v / (1 - b2**t)) + eps)
    return w


OPTIMIZERS = {
    "adam weight decay": (lambda p: nn.AdamWeightDecay(p), lambda w: adam_weight_decay(w)),
    "adam weight decay settings": (
        lambda p: nn.AdamWeightDecay(p, 0.1, 0.8, 0.95, 1e-3, 0.2),
        lambda w: adam_weight_decay(w, 0.1, 0.8, 0.95, 1e-3, 0.2),
    ),
    "adamw": (lambda p: nn.AdamW(p), lambda w: adamw(w)),
    "adamw settings": (
        lambda p: nn.AdamW(p, 0.1, 0.8, 0.95, 1e-3, 0.2), lambda w: adamw(w, 0.1, 0.8, 0.95, 1e-3, 0.2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("mode", ["eager", "interpreter", "native"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decoupled_decay(name, mode):
    make, formula = OPTIMIZERS[name]
    with graphrt.set_context(engine="native" if mode == "native" else "interpreter"):
        weight = Parameter(START, name="w")
        optimizer = make([weight])
        call = (lambda g: optimizer((g,))) if mode == "eager" else graphrt.compile(lambda g: optimizer((g,)))
        for g in GRADS:
            call(Tensor(g))
        assert optimizer.global_step.item() == len(GRADS)
    np.testing.assert_allclose(weight.asnumpy(), formula(START.astype(np.float64)), rtol=2e-5, atol=1e-6)


def test_who_decays():
    def make():
        return [Parameter(np.ones(1, np.float32), name=name) for name in ("fc.weight", "ln.gamma")]

    zeros = (Tensor(np.zeros(1, np.float32)),) * 2
    for optimizer, expected in ((nn.AdamWeightDecay, [0.5, 1.0]), (nn.AdamW, [0.5, 0.5])):
        parameters = make()
        optimizer(parameters, 1.0, weight_decay=0.5)(zeros)
        assert [p.item() for p in parameters] == expected
    parameters = make()
    groups = [
        {"params": parameters[:1], "weight_decay": 0.25, "lr": 2.0},
        {"params": parameters[1:], "weight_decay": 0.0},
    ]
    nn.AdamW(groups, 1.0, weight_decay=0.5)(zeros)
    assert [p.item() for p in parameters] == [0.5, 1.0]


def test_gradient_centralization_of_a_group():
    weight, bias = Parameter(START, name="w"), Parameter(np.zeros(2, np.float32), name="b")
    groups = [{"params": [weight], "grad_centralization": True}, {"params": [bias]}]
    nn.SGD(groups, 1.0)((Tensor(GRADS[0]), Tensor(GRADS[1, 0])))
    centred = GRADS[0] - GRADS[0].mean(1, keepdims=True)
    np.testing.assert_allclose(weight.asnumpy(), START - centred, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bias.asnumpy(), -GRADS[1, 0], rtol=1e-6)


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: nn.ExponentialDecayLR(0.0, 0.9, 4), "learning_rate out of range"),
        (lambda: nn.InverseDecayLR(0.1, 0.9, 0), "decay_steps must be a positive int"),
        (lambda: nn.CosineDecayLR(0.1, 0.1, 4), "max_lr must be larger"),
        (lambda: nn.PolynomialDecayLR(0.1, 0.0, 4, 0.0), "power out of range"),
        (lambda: nn.WarmUpLR(-1.0, 4), "learning_rate out of range"),
        (lambda: nn.piecewise_constant_lr([4, 2], [0.1, 0.2]), "milestones must increase"),
        (lambda: nn.piecewise_constant_lr([4], [0.1, 0.2]), "one learning rate per milestone"),
        (lambda: nn.warmup_lr(0.1, 0, 2, 2), "total_step must be a positive int"),
        (lambda: nn.AdamW([Parameter(1.0)], eps=0.0), "eps out of range"),
    ],
)  # fmt: skip
def test_bad_settings(make, text):
    with pytest.raises(ArgumentError, match=text):
        make()


# ---- PyTorch as the oracle of a whole step, where it is installed


def test_training_a_small_network_follows_pytorch():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = RNG.standard_normal((8, 3, 6, 6)).astype(np.float32)
    labels = RNG.integers(0, 4, 8).astype(np.int32)
    kernel = RNG.standard_normal((5, 3, 3, 3)).astype(np.float32) * 0.3
    table = RNG.standard_normal((4, 5)).astype(np.float32)

    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(3, 5, 3, pad_mode="valid", weight_init=Tensor(kernel))
            self.batch, self.layer = nn.BatchNorm2d(5), nn.LayerNorm(5, epsilon=1e-5)
            self.out = nn.Dense(5, 4, Tensor(table), has_bias=False)

        def construct(self, x):
            h = ops.gelu(self.batch(self.convolution(x)))
            return self.out(self.layer(ops.mean(h, (2, 3))))

    net = Net().set_train()
    optimizer = nn.AdamW(net.trainable_params(), 0.05, weight_decay=0.1)
    loss = nn.CrossEntropyLoss()
    forward = graphrt.value_and_grad(lambda x, y: loss(net(x), y), None, optimizer.parameters)

    def step(x, y):
        value, grads = forward(x, y)
        optimizer(ops.clip_by_global_norm(grads, 0.5))
        return value

    with graphrt.set_context(engine="native"):
        compiled = graphrt.compile(step)
        ours = [compiled(Tensor(x), Tensor(labels)).item() for _ in range(6)]

    leaf = {
        n: torch.nn.Parameter(torch.from_numpy(a.copy())) for n, a in (("kernel", kernel), ("table", table))
    }
    leaf |= {n: torch.nn.Parameter(torch.ones(5)) for n in ("batch_g", "layer_g")}
    leaf |= {n: torch.nn.Parameter(torch.zeros(5)) for n in ("batch_b", "layer_b")}
    theirs = []
    peer = torch.optim.AdamW(leaf.values(), 0.05, weight_decay=0.1)
    for _ in range(6):
        h = functional.conv2d(torch.from_numpy(x), leaf["kernel"])
        h = functional.gelu(functional.batch_norm(h, None, None, leaf["batch_g"], leaf["batch_b"], True))
        h = functional.layer_norm(h.mean((2, 3)), (5,), leaf["layer_g"], leaf["layer_b"])
        value = functional.cross_entropy(h @ leaf["table"].T, torch.from_numpy(labels).long())
        peer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(leaf.values(), 0.5)
        peer.step()
        theirs.append(value.item())
    np.testing.assert_allclose(ours, theirs, rtol=2e-4)
