"""From the user's Python to a Graph: Tensor, Parameter, Cell, tracing, gradients, `@compile`."""
