"""`if` on a traced Tensor: a function is traced once for every way through it, and the ways become one.

    def half(x):                     %2 = reduce_sum(%0), %3 = greater(%2, 0)     once, for both ways
        if x.sum() > 0:     ->       %4 = mul(%0, 0.5)                            the way with True
            return x * 0.5           %5 = neg(%0)                                 the way with False
        return -x                    %6 = select(%3, %4, %5)

In: a function that runs inside a trace. Out: its result, and the values of Parameters it assigned, as if Python had
known every condition. bool() of a traced Tensor notes the condition and answers True; the function then runs again,
answering False, and so on for every way (`LIMIT`). Where the ways differ, results and assignments are selected by the
condition; nodes made before the first difference are the same objects in all of them, so they exist once.

Ways are merged at the end of the smallest function around the `if`: the `construct` of a Cell, a compiled function, a
function that is differentiated or mapped. Where its results cannot be merged (other shapes, Python values), the
decision is handed to the function around that one, which runs twice instead; the outermost one raises TraceError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import GraphrtError, TraceError
from ..ir import Node, Source, source_scope, topological_order
from ..ir.interpret import evaluate
from .location import user_source, warn_user
from .tensor import Tensor
from .tree import Slot, flatten, unflatten

if TYPE_CHECKING:
    from .cell import Cell
    from .trace import Trace

LIMIT = 16  # ways through one function, and decisions on one way
_FIX = "ops.where(condition, x, y) chooses between values, amp.update_where(condition, function) between assignments"
_ABSENT = object()


@dataclass(frozen=True, eq=False)
class Decision:
    """bool() of a traced Tensor at one point of a way. `made`: how many nodes the way had made before."""

    condition: Node
    source: Source
    answer: bool
    made: int


class Path:
    """One way through a function that is being traced: answers to give, answers given, nodes made.

    `forced`: the decisions this way shares with an earlier one, the last of them answered otherwise than there;
    `shared`: the nodes the earlier way had made until then. `over`: the ways were merged, Tensors of this one are dead.
    """

    def __init__(self, parent: Path | None, forced: Sequence[Decision] = (), shared: Sequence[Node] = ()):
        self.parent, self.forced = parent, tuple(forced)
        self.taken: list[Decision] = []
        self.made: list[Node] = []
        self.attributes: dict[
            tuple[int, str], tuple[Cell, Any]
        ] = {}  # assigned here: the Cell, the value before
        self.over = False
        self._shared: dict[Any, list[Node]] = {}
        for node in reversed(shared):
            self._shared.setdefault(_key(node), []).append(node)

    def is_over(self) -> bool:
        """Whether Tensors made here may not be used any more."""
        path: Path | None = self
        while path is not None:
            if path.over:
                return True
            path = path.parent
        return False

    def known(self, node: Node) -> Node | None:
        """The node the earlier way had in the place of this new one."""
        if len(self.taken) >= len(self.forced):
            return None
        found = self._shared.get(_key(node))
        return found.pop() if found else None


def _key(node: Node) -> Any:
    return node.op.key(), tuple(map(id, node.inputs)), node.type


def made(trace: Trace, node: Node) -> Node:
    """What a new node of the trace is taken for: itself, or the same node of an earlier way."""
    path, fresh = trace.path, []
    while path is not None:
        fresh.append(path)
        found = path.known(node)
        if found is not None:
            node = found
            break
        path = path.parent
    for path in fresh:
        path.made.append(node)
    return node


def assigned(trace: Trace, cell: Cell, name: str) -> None:
    """A plain attribute of a Cell is about to be assigned: other ways must find it as it was. A Cell made on a way
    does not exist on others."""
    path = trace.path
    _, birth = trace.born.get(id(cell), (None, None))
    while path is not None and path is not birth:
        path.attributes.setdefault((id(cell), name), (cell, vars(cell).get(name, _ABSENT)))
        path = path.parent


# --------------------------------------------------------------------------------------------------- decisions


def truth(trace: Trace, tensor: Tensor) -> bool:
    """bool() of a traced Tensor. Raises TraceError for more than one element, or too many ways."""
    source = user_source()
    if tensor.size != 1:
        raise TraceError(
            "the truth value of a tensor with several elements is not defined", at=source,
            expected="one element", given=tensor.type.describe(), fix="x.all() or x.any() is one truth value",
        )  # fmt: skip
    with source_scope(source):
        return decide(trace, trace.lift(tensor), source)


def decide(trace: Trace, condition: Node, source: Source) -> bool:
    """The answer of the present way to whether `condition` (one element) is true."""
    known = _answered(trace.path, condition)
    if known is not None:
        return known
    if not any(node.is_input for node in topological_order([condition])):
        return bool(evaluate([condition], {})[0])
    path = trace.path
    assert path is not None
    position = len(path.taken)
    if position >= LIMIT:
        raise _too_many(source, f"{LIMIT} decisions one after the other, and no end")
    answer = True
    if position < len(path.forced):
        expected = path.forced[position]
        if (expected.source.file, expected.source.line) != (source.file, source.line):
            raise TraceError(
                "the function took another course when it was traced again with another answer to an `if` on a tensor",
                at=source, expected=f"the same lines as before, up to {expected.source}",
                fix="decide on tensors, arguments and attributes only: not on counters, files or random numbers of Python",
            )  # fmt: skip
        condition, answer = expected.condition, expected.answer
    path.taken.append(Decision(condition, source, answer, len(path.made)))
    return answer


def _answered(path: Path | None, condition: Node) -> bool | None:
    """What this way, or one around it, has said about the same condition."""
    while path is not None:
        for decision in path.taken:
            if _equal(decision.condition, condition):
                return decision.answer
        path = path.parent
    return None


def _equal(a: Node, b: Node, depth: int = 8) -> bool:
    """Whether two nodes are the same computation: `x > 0` written twice. Looks no deeper than `depth` ops."""
    if a is b:
        return True
    if (
        depth == 0
        or a.is_input
        or len(a.inputs) != len(b.inputs)
        or a.type != b.type
        or a.op.key() != b.op.key()
    ):
        return False
    return all(_equal(x, y, depth - 1) for x, y in zip(a.inputs, b.inputs))


def _too_many(source: Source, given: str) -> TraceError:
    return TraceError(
        f"there are more than {LIMIT} ways through this function, by `if` or `while` on tensors", at=source,
        expected=f"at most {LIMIT}: each is traced, and all are computed", given=given,
        fix=f"{_FIX}; a loop needs a number of rounds that is known: for k in range(n), with ops.where inside",
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------- merging


@dataclass(eq=False)
class _End:
    """Where one way ended. `leaves`: the Tensors of result and assigned attributes, `nodes` their nodes; `failure`: an
    assertion that did not hold on this way."""

    leaves: list[Tensor] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    structure: Any = None
    latest: dict[int, Node] = field(default_factory=dict)
    failure: AssertionError | None = None


@dataclass(eq=False)
class _Fork:
    decision: Decision
    yes: _End | _Fork
    no: _End | _Fork


class _Differ(Exception):
    """The results on both sides of a decision cannot be merged."""

    def __init__(self, decision: Decision, yes: str, no: str):
        super().__init__(yes, no)
        self.decision, self.yes, self.no = decision, yes, no


def explore(trace: Trace, function: Callable[[], Any], hands_on: bool = True) -> Any:
    """function() with all its ways merged. `hands_on`: ways that cannot be merged become ways of the function around
    this one; otherwise, and for the outermost one, TraceError.

    Raises TraceError also for too many ways, and for exceptions raised on some of them. A failing `assert` is taken to
    hold, with a warning.
    """
    return _Exploration(trace, function).result(hands_on)


class _Exploration:
    def __init__(self, trace: Trace, function: Callable[[], Any]):
        self.trace, self.function = trace, function
        self.outer, self.start = trace.path, dict(trace.latest)
        self.paths: list[Path] = []
        self.attributes: dict[tuple[int, str], tuple[Cell, Any]] = {}

    def result(self, hands_on: bool) -> Any:
        path = Path(self.outer)
        result = self._run(path)
        if not path.taken:  # the usual case: nothing was asked
            path.made = []
            return result
        tree = self._tree(path, result)
        for path in self.paths:
            path.over, path.made = True, []
        while True:
            try:
                end = self._merged(tree)
                break
            except _Differ as difference:
                if not hands_on or self.outer is None:
                    raise _differing(difference) from None
                assert isinstance(tree, _Fork)
                handed = tree.decision
                tree = tree.yes if decide(self.trace, handed.condition, handed.source) else tree.no
        if end.failure is not None:
            raise end.failure
        self.trace.latest = end.latest
        leaves = [t if t._node is None else self.trace.tensor(node) for t, node in zip(end.leaves, end.nodes)]
        result, values = unflatten(end.structure, leaves)
        self._set_attributes(values)
        return result

    # -------------------------------------------------------------------------------------------- the ways

    def _run(self, path: Path) -> Any:
        """Run the function on one way; an _End in place of the result where an assertion failed."""
        trace = self.trace
        if len(self.paths) >= LIMIT:
            raise _too_many(path.forced[-1].source, f"{len(self.paths)} ways so far")
        self.paths.append(path)
        trace.path, trace.latest = path, dict(self.start)
        self._set_attributes({key: before for key, (_, before) in self.attributes.items()})
        try:
            return self.function()
        except GraphrtError:
            raise
        except Exception as error:
            if not path.taken:
                raise
            if isinstance(error, AssertionError):
                return _End(failure=error)
            raise TraceError(
                f"{type(error).__name__} was raised on one side of an `if` on a tensor", at=path.taken[-1].source,
                given=str(error) or None,
                fix="compiled code cannot raise, both sides are always computed: return the condition and look at it outside",
            ) from error  # fmt: skip
        finally:
            trace.path = self.outer
            self.attributes = {**path.attributes, **self.attributes}

    def _tree(self, path: Path, result: Any) -> _End | _Fork:
        """All ways that share the forced decisions of `path`, which has just run."""
        tree: _End | _Fork = self._end(path, result)
        for position in reversed(range(len(path.forced), len(path.taken))):
            decision = path.taken[position]
            flipped = Decision(decision.condition, decision.source, False, decision.made)
            other = Path(self.outer, [*path.taken[:position], flipped], path.made[: decision.made])
            tree = _Fork(decision, tree, self._tree(other, self._run(other)))
        return tree

    def _end(self, path: Path, result: Any) -> _End:
        if isinstance(result, _End):
            return result
        trace = self.trace
        values = {key: vars(cell).get(key[1], _ABSENT) for key, (cell, _) in self.attributes.items()}
        leaves, structure = flatten((result, values), _is_usable)
        trace.path = path  # the Tensors are its own
        try:
            nodes = [trace.lift(t) for t in leaves]
        finally:
            trace.path = self.outer
        return _End(leaves, nodes, structure, trace.latest)

    def _set_attributes(self, values: dict[tuple[int, str], Any]) -> None:
        for (key, name), value in values.items():
            attributes = vars(self.attributes[key, name][0])
            attributes["_snapshot"] = None
            if value is _ABSENT:
                attributes.pop(name, None)
            else:
                attributes[name] = value

    # -------------------------------------------------------------------------------------------- one of all

    def _merged(self, tree: _End | _Fork) -> _End:
        if isinstance(tree, _End):
            return tree
        yes, no = self._merged(tree.yes), self._merged(tree.no)
        decision = tree.decision
        if yes.failure is not None or no.failure is not None:
            if yes.failure is None or no.failure is None:
                _warn_of_assertion(decision)
            return yes if no.failure is not None else no
        yes, no = self._same_attributes(yes, no)
        if not _same(yes.structure, no.structure) or [n.type for n in yes.nodes] != [
            n.type for n in no.nodes
        ]:
            raise _Differ(decision, _described(yes), _described(no))
        leaves: list[Tensor] = []
        nodes: list[Node] = []
        for t, other, yes_node, no_node in zip(yes.leaves, no.leaves, yes.nodes, no.nodes):
            nodes.append(self._select(decision, yes_node, no_node))
            leaves.append(t if t is other else self.trace.tensor(nodes[-1]))
        latest = {}
        for key in yes.latest | no.latest:
            first = self.trace.states[key][1]
            latest[key] = self._select(decision, yes.latest.get(key, first), no.latest.get(key, first))
        return _End(leaves, nodes, yes.structure, latest)

    def _same_attributes(self, yes: _End, no: _End) -> tuple[_End, _End]:
        """Both ends with values for the attributes that either way assigned."""
        ends = []
        for end in (yes, no):
            result, values = end.structure
            missing = [key for key in self.attributes if key not in values]
            before = {key: self.attributes[key][1] for key in missing}
            leaves, structure = flatten(before, _is_usable)
            moved = unflatten(structure, [Slot(len(end.leaves) + k) for k in range(len(leaves))])
            nodes = [self.trace.lift(t) for t in leaves]
            values = {key: {**values, **moved}[key] for key in self.attributes}
            ends.append(
                _End(end.leaves + leaves, end.nodes + nodes, (result, values), end.latest) if missing else end
            )
        return ends[0], ends[1]

    def _select(self, decision: Decision, yes: Node, no: Node) -> Node:
        from ..ops import build

        if yes is no:
            return yes
        with source_scope(decision.source):
            return build.where(build.reshape(decision.condition, ()), yes, no)


def _is_usable(value: object) -> bool:
    """Whether a value is a Tensor, and not one that an earlier trace left in an attribute."""
    return isinstance(value, Tensor) and (value._trace is None or value._trace.active)


def _same(a: Any, b: Any) -> bool:
    """Whether two structures of results are the same: containers and numbers by value, other objects by identity."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    return isinstance(a, (Slot, bool, int, float, complex, str, bytes)) and a == b


def _described(end: _End) -> str:
    """The result of one way, for messages."""
    types = [node.type.describe() for node in end.nodes]

    def text(value: Any) -> str:
        if isinstance(value, Slot):
            return types[value.position]
        if isinstance(value, tuple):
            return f"({', '.join(map(text, value))}{',' if len(value) == 1 else ''})"
        if isinstance(value, list):
            return f"[{', '.join(map(text, value))}]"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key!r}: {text(item)}" for key, item in value.items()) + "}"
        return "nothing" if value is _ABSENT else repr(value)

    result, attributes = end.structure
    assigned_here = [f"attribute {name} = {text(value)}" for (_, name), value in attributes.items()]
    return ", ".join([text(result), *assigned_here])


def _differing(difference: _Differ) -> TraceError:
    return TraceError(
        "the two sides of an `if` on a tensor must have the same result", at=difference.decision.source,
        expected="the same nesting, shapes and element types; Python values that are equal",
        given=f"{difference.yes} where it is true, {difference.no} where it is false",
        fix="return Tensors of one shape and type on both sides: Tensor(1.0) instead of 1.0, x.astype(...), ops.zeros_like(x)",
    )  # fmt: skip


def _warn_of_assertion(decision: Decision) -> None:
    where = f"{decision.source.file}:{decision.source.line}: " if decision.source.file else ""
    warn_user(
        f"{where}compiled code does not check an assertion on a tensor: it is taken to hold. "
        "Return the condition and check it outside the compiled function."
    )
