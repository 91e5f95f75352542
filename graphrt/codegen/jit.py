"""LLVM IR text -> object code -> loaded functions.

In: IR text and a Target. Out: object code as plain bytes (a pure function of text and target, so it can be cached),
its assembly on request, and, loaded into this process, the addresses of its functions.

llvmlite is imported here on first use, never at `import graphrt`.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import CompileError
from . import cache

if TYPE_CHECKING:
    from .target import Target

# The loop IR is already vectorised, unrolled and inlined as measured best. LLVM's own passes of that kind would undo
# register tiles; what is left for it, one round of simplification per function, needs half the time of -O2 and leaves
# the same instructions in the loops.
_SPEED_LEVEL = 1
_PIPELINE = dict.fromkeys(
    ("loop_vectorization", "slp_vectorization", "loop_unrolling", "loop_interleaving"), False
)

_lock = threading.Lock()
_initialised: set[str] = set()


def llvm() -> Any:
    """llvmlite's binding module, imported on first use."""
    import llvmlite.binding

    return llvmlite.binding


def initialise(native_only: bool = True) -> None:
    """Register LLVM's code generators, once: this machine's, or all of them (assembly for other processors)."""
    with _lock:
        binding = llvm()
        if "native" not in _initialised:
            binding.initialize_native_target()
            binding.initialize_native_asmprinter()
            binding.initialize_native_asmparser()  # without it LLVM aborts the process at inline assembly
            _initialised.add("native")
        if not native_only and "all" not in _initialised:
            binding.initialize_all_targets()
            binding.initialize_all_asmprinters()
            _initialised.add("all")


@dataclass(frozen=True)
class CompiledModule:
    """Relocatable object code and the target it was made for."""

    object_code: bytes
    target: Target


def compile_text(text: str, target: Target) -> CompiledModule:
    """Optimise a module given as LLVM IR text and generate its object code, or take that from the cache on disk.

    Raises CompileError with the offending line if the text does not parse or verify.
    """
    name = object_key(text, target)
    object_code = cache.read(name)
    if object_code is None:
        object_code = _compiler(target).machine.emit_object(_optimised(text, target))
        cache.write(name, object_code)
    return CompiledModule(object_code, target)


def object_key(text: str, target: Target) -> str:
    """The name in the cache of the object code of `text`: everything that code depends on."""
    import llvmlite

    llvm_version = ".".join(map(str, llvm().llvm_version_info))
    versions = (llvmlite.__version__, llvm_version, cache.product_version())
    processor = (target.triple, target.cpu, target.features)
    return cache.key("object", text, *processor, *versions, repr((_SPEED_LEVEL, _PIPELINE)))


def optimised_text(text: str, target: Target) -> str:
    """The module after LLVM's optimisation passes, as text."""
    return str(_optimised(text, target))


def assembly(text: str, target: Target) -> str:
    """The assembly `compile_text` would assemble; works for any target, also one this machine cannot run."""
    return _compiler(target).machine.emit_assembly(_optimised(text, target))


def _optimised(text: str, target: Target) -> Any:
    compiler, binding = _compiler(target), llvm()
    try:
        # A context per module: the global one keeps every type and constant it ever saw.
        module = binding.parse_assembly(text, binding.create_context())
        module.triple = target.triple
        module.data_layout = compiler.data_layout
        module.verify()
    except RuntimeError as error:
        raise CompileError(
            "LLVM rejects the generated code", at=_offending_line(text, str(error)), given=str(error).strip()
        ) from None
    # A builder per module: every run adds to what the next run of the same builder calls before and after each pass.
    builder = binding.create_pass_builder(compiler.machine, compiler.options)
    simplify = builder.getFunctionPassManager()
    compiler.inline.run(module, builder)
    for function in module.functions:
        if not function.is_declaration:
            simplify.run(function, builder)
    # llvmlite 0.50 frees no pass manager (the class's bases hide the method that does): 80 KB per module.
    binding.newpassmanagers.NewPassManager._dispose(simplify)
    simplify.detach()
    return module


@dataclass(frozen=True)
class _Compiler:
    """What LLVM needs to compile for one target. Nothing of the modules it compiled stays in it."""

    machine: Any
    data_layout: str
    options: Any
    inline: Any


@functools.cache
def _compiler(target: Target) -> _Compiler:
    binding, machine = llvm(), target.machine()
    options = binding.create_pipeline_tuning_options(_SPEED_LEVEL)
    for option, value in _PIPELINE.items():
        setattr(options, option, value)
    inline = binding.create_new_module_pass_manager()
    inline.add_always_inliner_pass()
    return _Compiler(machine, str(machine.target_data), options, inline)


def _offending_line(text: str, message: str) -> str | None:
    found = re.search(r"<string>:(\d+):", message)
    if not found:
        return None
    number = int(found.group(1))
    lines = text.splitlines()
    return f"line {number} of the LLVM IR: {lines[number - 1].strip()}" if number <= len(lines) else None


class Loaded:
    """Object code in executable memory. The memory is freed when this object is: whoever keeps an address must keep
    this object too."""

    def __init__(self, engine: Any, tracker: Any, symbols: Sequence[str]):
        self._engine, self._tracker = engine, tracker
        self._addresses = {symbol: tracker[symbol] for symbol in symbols}

    def address(self, symbol: str) -> int:
        """The address of an exported function."""
        return self._addresses[symbol]

    def __del__(self) -> None:
        self._tracker.close()  # the code before the engine, whatever order the interpreter tears things down in
        self._engine.close()


def load(objects: Sequence[bytes], symbols: Sequence[str]) -> Loaded:
    """Link object code into this process and resolve `symbols`. What the objects do not define comes from the process
    itself.

    Raises CompileError if a symbol is missing or an object is damaged.
    """
    initialise()
    binding = llvm()
    # An engine of its own (0.6 ms): a shared one keeps 10 KB of every library it ever held. JITLink, because the older
    # RuntimeDyld does not return the memory of the code either.
    engine = binding.create_lljit_compiler(use_jit_link=True, suppress_errors=True)
    builder = binding.JITLibraryBuilder().add_current_process()
    for object_code in objects:
        builder.add_object_img(object_code)
    for symbol in symbols:
        builder.export_symbol(symbol)
    try:
        tracker = builder.link(engine, "graphrt")
    except RuntimeError as error:
        engine.close()
        raise CompileError("the generated object code cannot be loaded", given=str(error).strip()) from None
    return Loaded(engine, tracker, symbols)
