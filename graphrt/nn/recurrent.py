"""Recurrent layers: RNN, LSTM, GRU, and their cells for one step.

In: sequences (T, N, input_size), or (N, T, input_size) with `batch_first`. Out: the hidden states of all steps, and the
last ones. The steps are written out in the graph one after the other; the products with the inputs are one product for
the whole sequence. The graph, and with it the time to compile it, grows with the number of steps: a few kernels each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from ..dtypes import as_dtype
from ..errors import ArgumentError, ShapeError
from ..frontend import functional as ops
from ..frontend.cell import Cell
from ..frontend.parameter import Parameter
from ..frontend.tensor import Tensor
from .dense import here, positive_int
from .dropout import Dropout

State = tuple[Tensor, ...]


def rnn_step(nonlinearity: str) -> Callable[[Tensor, Tensor, State], State]:
    """h' = tanh(x + r), or relu; x and r are the input's and the state's part, biases included."""
    function = ops.tanh if nonlinearity == "tanh" else ops.relu
    return lambda x, r, state: (function(x + r),)


def lstm_step(x: Tensor, r: Tensor, state: State) -> State:
    """Gates input, forget, cell, output: c' = sigmoid(f) c + sigmoid(i) tanh(g); h' = sigmoid(o) tanh(c')."""
    i, f, g, o = ops.split(x + r, x.shape[-1] // 4, -1)
    c = ops.sigmoid(f) * state[1] + ops.sigmoid(i) * ops.tanh(g)
    return ops.sigmoid(o) * ops.tanh(c), c


def gru_step(x: Tensor, r: Tensor, state: State) -> State:
    """Gates reset, update, new: n = tanh(x_n + sigmoid(r) h_n); h' = (1 - sigmoid(z)) n + sigmoid(z) h."""
    size = x.shape[-1] // 3
    (x_r, x_z, x_n), (h_r, h_z, h_n) = ops.split(x, size, -1), ops.split(r, size, -1)
    new = ops.tanh(x_n + ops.sigmoid(x_r + h_r) * h_n)
    update = ops.sigmoid(x_z + h_z)
    return (new + update * (state[0] - new),)


def _check_nonlinearity(layer: str, nonlinearity: str) -> str:
    if nonlinearity not in ("tanh", "relu"):
        raise ArgumentError(
            f"{layer}: unknown nonlinearity", **here(), expected="'tanh' or 'relu'", given=repr(nonlinearity)
        )
    return nonlinearity


class _Recurrent(Cell):
    """What cells and layers share: how many gates and states, and parameters U(-1/sqrt(hidden_size), +)."""

    gates: ClassVar[int]
    states: ClassVar[int] = 1

    def _step(self) -> Callable[[Tensor, Tensor, State], State]:
        raise NotImplementedError

    def _parameters(self, suffix: str, inputs: int, has_bias: bool, dtype: object) -> None:
        from ..common.initializer import Uniform, initializer

        init, rows = Uniform(1.0 / math.sqrt(self.hidden_size)), self.gates * self.hidden_size
        shapes: list[tuple[str, tuple[int, ...]]] = [
            ("weight_ih", (rows, inputs)),
            ("weight_hh", (rows, self.hidden_size)),
        ]
        if has_bias:
            shapes += [("bias_ih", (rows,)), ("bias_hh", (rows,))]
        for name, shape in shapes:
            setattr(self, f"{name}{suffix}", Parameter(initializer(init, shape, as_dtype(dtype))))

    def _part(self, x: Tensor, which: str, suffix: str) -> Tensor:
        bias = getattr(self, f"bias_{which}{suffix}") if self.has_bias else None
        return ops.dense(x, getattr(self, f"weight_{which}{suffix}"), bias)

    def extend_repr(self) -> str:
        return f"input_size={self.input_size}, hidden_size={self.hidden_size}, has_bias={self.has_bias}"


class _RecurrentCell(_Recurrent):
    def __init__(self, input_size: int, hidden_size: int, has_bias: bool = True, dtype: object = "float32"):
        super().__init__()
        positive_int(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size, self.has_bias = int(input_size), int(hidden_size), bool(has_bias)
        self._parameters("", self.input_size, self.has_bias, dtype)

    def construct(self, x: Tensor, hx: Any) -> Any:
        state = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        shape = (x.shape[0], self.hidden_size) if x.ndim else ()
        fits = x.ndim == 2 and x.shape[1] == self.input_size and len(state) == self.states
        if not fits or any(s.shape != shape for s in state):
            raise ShapeError(
                f"{type(self).__name__}: input and state do not fit", **here(),
                expected=f"x (N, {self.input_size}) and {self.states} x (N, {self.hidden_size})",
                given=", ".join(t.type.describe() for t in (x, *state)),
            )  # fmt: skip
        new = self._step()(self._part(x, "ih", ""), self._part(state[0], "hh", ""), state)
        return new if self.states > 1 else new[0]


class RNNCell(_RecurrentCell):
    """One step: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu. x (N, input_size), hx (N, hidden_size)
    -> h'. `nonlinearity`: "tanh" or "relu"."""

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        has_bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: object = "float32",
    ):
        super().__init__(input_size, hidden_size, has_bias, dtype)
        self.nonlinearity = _check_nonlinearity("RNNCell", nonlinearity)

    def _step(self) -> Callable[[Tensor, Tensor, State], State]:
        return rnn_step(self.nonlinearity)


class LSTMCell(_RecurrentCell):
    """One step of `LSTM`: x (N, input_size), hx = (h, c), each (N, hidden_size) -> (h', c')."""

    gates, states = 4, 2

    def _step(self) -> Callable[[Tensor, Tensor, State], State]:
        return lstm_step


class GRUCell(_RecurrentCell):
    """One step of `GRU`: x (N, input_size), hx (N, hidden_size) -> h'."""

    gates = 3

    def _step(self) -> Callable[[Tensor, Tensor, State], State]:
        return gru_step


class _RecurrentLayer(_Recurrent):
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        has_bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: object = "float32",
    ):
        super().__init__()
        positive_int(
            type(self).__name__, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers
        )
        self.input_size, self.hidden_size, self.num_layers = (
            int(input_size),
            int(hidden_size),
            int(num_layers),
        )
        self.has_bias, self.batch_first = bool(has_bias), bool(batch_first)
        self.bidirectional = bool(bidirectional)
        self.dropout = Dropout(p=dropout) if dropout and num_layers > 1 else None
        self._suffixes = [["", "_reverse"][: 1 + self.bidirectional] for _ in range(self.num_layers)]
        inputs = self.input_size
        for number, directions in enumerate(self._suffixes):
            for direction in directions:
                self._parameters(f"_l{number}{direction}", inputs, self.has_bias, dtype)
            inputs = self.hidden_size * len(directions)

    def construct(self, x: Tensor, hx: Any = None, seq_length: Any = None) -> Any:
        layer = type(self).__name__
        if seq_length is not None:
            raise ArgumentError(
                f"{layer}: seq_length is not supported", **here(), fix="leave it out, and mask the outputs"
            )
        if x.ndim != 3 or x.shape[2] != self.input_size:
            order = "N, T" if self.batch_first else "T, N"
            raise ShapeError(
                f"{layer}: the input must hold sequences", **here(), expected=f"float32[{order}, {self.input_size}]",
                given=x.type.describe(),
            )  # fmt: skip
        if self.batch_first:
            x = ops.swapaxes(x, 0, 1)
        states = self._first_states(x, hx)
        last: list[State] = []
        for number, directions in enumerate(self._suffixes):
            outputs = []
            for direction in directions:
                state = tuple(s[len(last)] for s in states)
                found, state = self._run(x, state, f"_l{number}{direction}", bool(direction))
                outputs.append(found)
                last.append(state)
            x = outputs[0] if len(outputs) == 1 else ops.concat(outputs, -1)
            if number + 1 < self.num_layers and self.dropout is not None:
                x = self.dropout(x)
        final = tuple(ops.stack([state[k] for state in last], 0) for k in range(self.states))
        output = ops.swapaxes(x, 0, 1) if self.batch_first else x
        return output, final if self.states > 1 else final[0]

    def _first_states(self, x: Tensor, hx: Any) -> tuple[Tensor, ...]:
        shape = (sum(map(len, self._suffixes)), x.shape[1], self.hidden_size)
        if hx is None:
            return (ops.zeros(shape, x.dtype),) * self.states
        states = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        if len(states) != self.states or any(s.shape != shape for s in states):
            raise ShapeError(
                f"{type(self).__name__}: the first states do not fit", **here(),
                expected=f"{self.states} x float32{list(shape)}", given=", ".join(s.type.describe() for s in states),
            )  # fmt: skip
        return states

    def _run(self, x: Tensor, state: State, suffix: str, backwards: bool) -> tuple[Tensor, State]:
        """One direction of one layer over (T, N, inputs): the hidden states (T, N, hidden_size) and the last state."""
        step, inputs = self._step(), self._part(x, "ih", suffix)
        found: dict[int, Tensor] = {}
        for t in reversed(range(x.shape[0])) if backwards else range(x.shape[0]):
            state = step(inputs[t], self._part(state[0], "hh", suffix), state)
            found[t] = state[0]
        return ops.stack([found[t] for t in range(x.shape[0])], 0), state

    def extend_repr(self) -> str:
        return (
            f"{super().extend_repr()}, num_layers={self.num_layers}, batch_first={self.batch_first}, "
            f"bidirectional={self.bidirectional}"
        )


_LAYER = """

    `num_layers` layers, each reading the states of the one before (in training through `dropout`). `bidirectional`: also
    from the last step to the first, the states side by side. Parameters "weight_ih_l0", "weight_hh_l0", "bias_ih_l0",
    "bias_hh_l0", ... with "_reverse" for the backward direction; U(-1/sqrt(hidden_size), 1/sqrt(hidden_size)) at first.
    """


class RNN(_RecurrentLayer):
    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        has_bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: object = "float32",
    ):
        super().__init__(
            input_size, hidden_size, num_layers, has_bias, batch_first, dropout, bidirectional, dtype
        )
        self.nonlinearity = _check_nonlinearity("RNN", nonlinearity)

    def _step(self) -> Callable[[Tensor, Tensor, State], State]:
        return rnn_step(self.nonlinearity)


class LSTM(_RecurrentLayer):
    gates, states = 4, 2

    def _step(self) -> Callable[[Tensor, Tensor, State], State]:
        return lstm_step


class GRU(_RecurrentLayer):
    gates = 3

    def _step(self) -> Callable[[Tensor, Tensor, State], State]:
        return gru_step


RNN.__doc__ = (
    "h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu: `construct(x, hx=None)` -> (states, last state).\n"
    f'    `nonlinearity`: "tanh" or "relu".{_LAYER}'
)
LSTM.__doc__ = (
    "Long short-term memory (Hochreiter and Schmidhuber 1997): `construct(x, hx=(h, c))` -> (states, (h, c)). Gates are\n"
    f"    stored in the order input, forget, cell, output.{_LAYER}"
)
GRU.__doc__ = (
    "Gated recurrent unit (Cho and others 2014): `construct(x, hx=None)` -> (states, last state). Gates are stored in the\n"
    f"    order reset, update, new.{_LAYER}"
)
