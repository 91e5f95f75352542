"""Cells that put a network, a loss and an optimizer together.

In: a batch. Out: the loss; `TrainOneStepCell` also updates the parameters. Compiled, each is one graph.
"""

from __future__ import annotations

from typing import Any

from ..frontend.cell import Cell
from ..frontend.grad_operation import GradOperation
from ..frontend.gradient import value_and_grad
from ..frontend.parameter import ParameterTuple


class WithLossCell(Cell):
    """loss_fn(backbone(data), label)."""

    def __init__(self, backbone: Cell, loss_fn: Any):
        super().__init__(auto_prefix=False)
        self._backbone = backbone
        self._loss_fn = loss_fn

    def construct(self, data: Any, label: Any) -> Any:
        return self._loss_fn(self._backbone(data), label)

    @property
    def backbone_network(self) -> Cell:
        """The network inside."""
        return self._backbone


class WithEvalCell(Cell):
    """(loss, predictions, label). `network` predicts, `loss_fn` (or None) compares with the label."""

    def __init__(self, network: Cell, loss_fn: Any):
        super().__init__(auto_prefix=False)
        self._network = network
        self._loss_fn = loss_fn

    def construct(self, data: Any, label: Any) -> Any:
        outputs = self._network(data)
        return self._loss_fn(outputs, label), outputs, label


class TrainOneStepCell(Cell):
    """One training step: the loss of `network(*inputs)`, its gradients, the optimizer's update. Returns the loss.

    `sens`: a factor on the loss that is differentiated, not on the one returned: the gradients are `sens` times as large
    (loss scale; give the optimizer the same `loss_scale`).

    What subclasses written for MindSpore use is there: `network`, `optimizer`, `weights`, `sens`, `grad` (a
    GradOperation of the weights whose last argument is the gradient of the loss), `grad_no_sens` (without it), and
    `grad_reducer`, which returns the gradients as they are: there is one device.
    """

    reducer_flag = False

    def __init__(self, network: Cell, optimizer: Any, sens: float = 1.0):
        super().__init__(auto_prefix=False)
        self.network = network
        self.optimizer = optimizer
        self.weights = ParameterTuple(optimizer.parameters)
        self.sens = float(sens)
        self.grad = GradOperation(get_by_list=True, sens_param=True)
        self.grad_no_sens = GradOperation(get_by_list=True)
        self._gradient = value_and_grad(network, None, self.weights)
        self._scaled_gradient = value_and_grad(self._scaled, None, self.weights, has_aux=True)

    def set_sens(self, value: float) -> None:
        """Change the factor on the gradients."""
        self.sens = float(value)

    def grad_reducer(self, grads: Any) -> Any:
        """The gradients, as they are. `grads`: one Tensor per weight."""
        return grads

    def _scaled(self, *inputs: Any) -> tuple[Any, Any]:
        loss = self.network(*inputs)
        return loss * self.sens, loss

    def construct(self, *inputs: Any) -> Any:
        if self.sens == 1.0:
            loss, grads = self._gradient(*inputs)
        else:
            (_, loss), grads = self._scaled_gradient(*inputs)
        self.optimizer(grads)
        return loss
