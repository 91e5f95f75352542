"""The session's settings: engine, threads, mode, compatibility version, cache, and the global random seed.

In: `set_context(...)`, `set_seed(...)`. Out: `get_context(name)`, `get_seed()`, and for each consumer of randomness
(initialisers, dropout layers) its own stream from `next_stream()`. Settings of MindSpore that mean nothing here are
accepted with a warning.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Mapping
from typing import Any

from .errors import ArgumentError

GRAPH_MODE = 0
PYNATIVE_MODE = 1

_DEFAULTS: dict[str, Any] = {
    "mode": PYNATIVE_MODE,
    "device_target": "CPU",
    "threads": None,
    "engine": "native",
    "compat": "2",
    "cache": True,
    "convolution": "direct",
    "tune": False,
}
_values: dict[str, Any] = dict(_DEFAULTS)

_ALLOWED: dict[str, tuple[Any, ...]] = {
    "mode": (GRAPH_MODE, PYNATIVE_MODE),
    "engine": ("native", "interpreter"),
    "compat": ("1.1", "2"),
    "cache": (True, False),
    "convolution": ("direct", "winograd"),
    "tune": (True, False),
}
# MindSpore's settings without a meaning here: the value get_context gives before one is set, and what to do instead.
_DUMP = "graphrt-dump FILE.py:net --stage all shows every stage of the compiler"
_MEMORY = "memory is planned when a step is compiled, and taken as needed"
_FUSION = "operations are always fused, by the compiler itself"
_ROUNDING = "results never depend on timing or the number of threads"
_RECURSION = "tracing is Python: sys.setrecursionlimit is the limit"
_PROFILE = "use model.profile(data, steps=5)"
_ERRORS = "errors of eager code are raised where they happen, those of compiled code name your line"
_ACCELERATOR = "graphrt runs on CPUs only"
FOREIGN: dict[str, tuple[Any, str]] = {
    "device_id": (0, "there is one CPU device; set_context(threads=n) says how much of it is used"),
    "save_graphs": (False, _DUMP),
    "save_graphs_path": (".", _DUMP),
    "enable_dump": (False, _DUMP),
    "save_dump_path": (".", _DUMP),
    "enable_profiling": (False, _PROFILE),
    "profiling_options": ("", _PROFILE),
    "print_file_path": ("", "ops print through Python's print while a function is traced"),
    "debug_level": (0, _DUMP),
    "max_call_depth": (1000, _RECURSION),
    "recursion_limit": (1000, _RECURSION),
    "enable_graph_kernel": (False, _FUSION),
    "graph_kernel_flags": ("", _FUSION),
    "disable_format_transform": (False, "layouts are chosen by the compiler"),
    "pynative_synchronize": (False, _ERRORS),
    "enable_pynative_infer": (False, _ERRORS),
    "check_bprop": (False, "gradients have the types of what they are gradients of"),
    "grad_for_scalar": (False, "pass Tensors: Python numbers have no gradients"),
    "deterministic": ("OFF", _ROUNDING),
    "max_device_memory": ("1024GB", _MEMORY),
    "variable_memory_max_size": ("30GB", _MEMORY),
    "mempool_block_size": ("1GB", _MEMORY),
    "memory_optimize_level": ("O0", _MEMORY),
    "enable_mem_reuse": (True, _MEMORY),
    "enable_dynamic_memory": (True, _MEMORY),
    "memory_offload": ("OFF", _MEMORY),
    "enable_compile_cache": (False, "compiled code is always kept; set_context(cache=False) compiles anew"),
    "compile_cache_path": (".", "GRAPHRT_CACHE_DIR in the environment names the folder of the cache"),
    "runtime_num_threads": (30, "write set_context(threads=n)"),
    "inter_op_parallel_num": (0, "write set_context(threads=n); all threads work on one operation"),
    "jit_level": ("O0", "write @graphrt.compile, or mode=GRAPH_MODE"),
    "jit_config": ({}, "write @graphrt.compile, or mode=GRAPH_MODE"),
    "jit_syntax_level": (2, "tracing runs Python itself: all of its syntax works"),
    "precompile_only": (False, "model.build(data) compiles without training"),
    "reserve_class_name_in_scope": (True, "names of Cells are their paths in the network"),
    "enable_loop_sink": (True, "Model.train(..., dataset_sink_mode=True) sinks"),
    "enable_task_sink": (True, "Model.train(..., dataset_sink_mode=True) sinks"),
    "enable_reduce_precision": (True, "use amp: Model(..., amp_level='O2'), or net.to_float(...)"),
    "enable_auto_mixed_precision": (False, "use amp: Model(..., amp_level='O2'), or net.to_float(...)"),
    "enable_sparse": (False, "gradients are dense"),
    "env_config_path": ("", "there is no such file here"),
    "op_timeout": (900, "Ctrl-C ends training after the present step"),
    "auto_tune_mode": ("NO_TUNE", "kernels are chosen by a cost model"),
    "aoe_tune_mode": ("", "kernels are chosen by a cost model"),
    "aoe_config": ({}, "kernels are chosen by a cost model"),
    "exec_order": ("", "the compiler orders operations"),
    "ascend_config": ({}, _ACCELERATOR),
    "gpu_config": ({}, _ACCELERATOR),
    "enable_hccl": (False, _ACCELERATOR),
}  # fmt: skip
_told: set[str] = set()  # foreign settings that have been warned of

_COMPILATION = ("engine", "threads", "convolution", "tune")  # what compiled code depends on


class _Restore:
    """Returned by `set_context`: used in a `with` statement it puts the previous settings back at the end."""

    def __init__(self, previous: dict[str, Any]):
        self._previous = previous

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        _values.update(self._previous)

    def __repr__(self) -> str:  # a bare `set_context(...)` typed into a REPL shows what changed
        return f"<context set: {', '.join(f'{k}={_values[k]!r}' for k in self._previous)}>"


def set_context(**settings: Any) -> _Restore:
    """Change settings; with `with set_context(...):` only for the block.

    - `mode`: `PYNATIVE_MODE` (default: Cells run op by op unless decorated with `@graphrt.compile`) or `GRAPH_MODE`
      (every Cell called from outside another Cell is compiled).
    - `device_target`: "CPU".
    - `threads`: number of threads of native code; None takes the CPUs this process may use.
    - `engine`: "native", or "interpreter" (op by op in NumPy: the reference, for debugging).
    - `compat`: "2" (default) or "1.1": the initialisers of that release.
    - `cache`: True (default), or False: compile anew, neither reading nor writing the cache on disk.
    - `convolution`: "direct" (default), or "winograd": 3x3 convolutions with stride 1 and their gradients by Winograd's
      F(4x4, 3x3) in native code where that is faster. Results deviate two to three times as much from exact ones.
    - `tune`: False (default), or True: products and convolutions get the plan that is fastest here, see
      `graphrt.compile(tune=True)`.

    Settings of MindSpore without a meaning here (`save_graphs`, `device_id`, `max_device_memory`, ...) are kept for
    `get_context`, with one warning each that says what graphrt does. Raises ArgumentError for an unknown setting or
    value, before anything is changed.
    """
    for name, value in settings.items():
        if name in FOREIGN:
            continue
        if name not in _DEFAULTS:
            raise _unknown("set_context", name)
        if name == "device_target" and value != "CPU":
            raise ArgumentError(
                "set_context: graphrt runs on CPUs only",
                expected='device_target="CPU"', given=f"device_target={value!r}", fix='write device_target="CPU"',
            )  # fmt: skip
        if name in _ALLOWED and value not in _ALLOWED[name]:
            raise ArgumentError(
                f"set_context: {name} has an unknown value",
                expected=" or ".join(map(repr, _ALLOWED[name])), given=repr(value),
            )  # fmt: skip
        if name == "threads" and value is not None and (type(value) is not int or value < 1):
            raise ArgumentError("set_context: threads must be a positive int or None", given=repr(value))
    previous = {name: get_context(name) for name in settings}
    _values.update(settings)
    for name in settings:
        if name in FOREIGN and name not in _told:
            _told.add(name)
            warnings.warn(f"set_context: {name} has no meaning here: {FOREIGN[name][1]}", stacklevel=2)
    return _Restore(previous)


def _unknown(function: str, name: str) -> ArgumentError:
    import difflib

    close = difflib.get_close_matches(name, [*_DEFAULTS, *FOREIGN], n=1)
    return ArgumentError(
        f"{function}: unknown setting", expected=", ".join(_DEFAULTS), given=repr(name),
        fix=f"did you mean {close[0]!r}?" if close else "remove it",
    )  # fmt: skip


def get_context(name: str) -> Any:
    """The current value of one setting; for MindSpore's settings without a meaning here what was set, or a
    default. `name`: of the setting. Raises ArgumentError for an unknown one."""
    if name in _values:
        return _values[name]
    if name in FOREIGN:
        return FOREIGN[name][0]
    raise _unknown("get_context", name)


def compilation_settings() -> dict[str, Any]:
    """The current values of the settings that compiled code depends on."""
    return {name: _values[name] for name in _COMPILATION}


def set_compat(version: str) -> _Restore:
    """Select the defaults of an earlier release ("1.1"); usable in a `with` statement."""
    return set_context(compat=version)


def set_device(device_target: str, device_id: int | None = None) -> None:
    """`set_context(device_target=...)`: "CPU" is the only one, and `device_id` has no meaning here."""
    set_context(device_target=device_target)


# ------------------------------------------------------------------------------------------------ randomness

_seed: int | None = None
_entropy: int = secrets.randbits(64)  # stands in for the seed until `set_seed` is called
_streams: int = 0
_generation: int = 0


def set_seed(seed: int) -> None:
    """Fix the global seed (an int >= 0) and start all random streams anew.

    Initialisers, dropout layers, random operations and dataset shuffling made afterwards repeat exactly.
    """
    global _seed, _streams, _generation
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or seed.__index__() < 0:
        raise ArgumentError("set_seed: the seed must be a non-negative int", given=repr(seed))
    _seed, _streams, _generation = seed.__index__(), 0, _generation + 1


def get_seed() -> int | None:
    """The global seed, or None if `set_seed` was never called."""
    return _seed


def seed_generation() -> int:
    """How often `set_seed` was called: whoever caches something drawn from the seed compares this."""
    return _generation


def next_stream() -> tuple[int, int]:
    """(seed, number) of a fresh random stream. Numbers count up from 0 after `set_seed`, so that the n-th consumer of
    a program always gets the same stream; without `set_seed` the seed differs from process to process."""
    global _streams
    _streams += 1
    return (_seed if _seed is not None else _entropy), _streams - 1


def random_state() -> dict[str, int | None]:
    """The seed and how many streams were taken from it, as plain numbers: part of what a checkpoint keeps."""
    return {"seed": _seed, "entropy": _entropy, "streams": _streams}


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Go on from a `random_state`. Unlike `set_seed` this starts nothing anew: streams in use stay as they
    are. `state`: what `random_state` returned."""
    global _seed, _entropy, _streams
    _seed, _entropy, _streams = state["seed"], state["entropy"], state["streams"]
