"""The rules of the house, checked on the source text: which folder may import which, and what stays lazy."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "graphrt"

# Folders and files of the package root in the order data meets them: each may import itself and those before it.
PIPELINE = (
    "errors",
    "dtypes",
    "context",
    "ir",
    "ops",
    "frontend",
    "passes",
    "loops",
    "schedule",
    "kernels",
    "codegen",
    "runtime",
)
BEYOND = {
    "common": ("dtype", "frontend", "ops"),
    "nn": ("common", "frontend", "ops"),
    "amp": ("frontend", "nn"),
    "dataset": ("common", "frontend", "ops"),
    "dtype": (),
}
SEES_ALL = ("__init__", "compiler", "tuning", "train", "onnx", "inspect")
# Public names for what the front end makes of the ops. Nothing inside imports the three modules, so they may import at
# their top; everything imports the package itself, so it may only do so inside functions.
OPS_ALIASES = ("operations", "composite", "functional")
# Python iteration and the native loop must agree on one order of the samples.
DATASET_ALSO = "graphrt.runtime.shuffle"
# Tracing a gradient or calling compiled code needs later stages, imported inside functions.
FRONTEND_LAZY = ("passes.differentiate", "compiler")
HEAVY = (
    "networkx",
    "onnx",
    "sklearn",
    "llvmlite",
    "matplotlib",
    "tqdm",
    "safetensors",
    "onnxruntime",
    "PIL",
    "pooch",
)

FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """(module, line, lazy) of every import: absolute names, lazy if inside a function or only for type checkers."""
    package = ["graphrt", *path.relative_to(PACKAGE).parent.parts]

    def walk(node: ast.AST, lazy: bool) -> Iterator[tuple[str, int, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, child.lineno, lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                module = ".".join([*base, *([child.module] if child.module else [])])
                # `from .. import errors` names modules in the list
                names = [f"{module}.{alias.name}" for alias in child.names]
                yield from ((name, child.lineno, lazy) for name in names)
            else:
                inside = lazy or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                yield from walk(child, inside or _is_type_checking(child))

    yield from walk(ast.parse(path.read_text(encoding="utf-8"), str(path)), False)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def part(name: str) -> str | None:
    """The folder or root file of the package that an absolute module name lies in; None outside the package."""
    pieces = name.split(".")
    if pieces[0] != "graphrt":
        return None
    return pieces[1] if len(pieces) > 1 else "__init__"


def allowed(path: Path, target: str, module: str, lazy: bool) -> bool:
    relative = path.relative_to(PACKAGE)
    here = relative.parts[0].removesuffix(".py")
    if here in SEES_ALL or target == here:
        return True
    if target == "common" and here == "frontend":
        return lazy
    if here in BEYOND:
        shared = here == "dataset" and module.startswith(DATASET_ALSO)
        return shared or target in BEYOND[here] or target in PIPELINE[: PIPELINE.index("ir") + 1]
    if here in PIPELINE and target in PIPELINE[: PIPELINE.index(here)]:
        return True
    if here == "ops" and target == "frontend":
        return relative.stem in OPS_ALIASES or (relative.stem == "__init__" and lazy)
    if here == "frontend" and any(module.startswith(f"graphrt.{name}") for name in FRONTEND_LAZY):
        return lazy
    return False


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_a_folder_imports_only_from_folders_above_it(path: Path) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line} imports {module}"
        for module, line, lazy in imports(path)
        if (target := part(module)) is not None and not allowed(path, target, module, lazy)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_heavy_packages_are_imported_where_they_are_used(path: Path) -> None:
    eager = [
        f"{path.relative_to(PACKAGE)}:{line} imports {module} at the top"
        for module, line, lazy in imports(path)
        if module.split(".")[0] in HEAVY and not lazy
    ]
    assert not eager, "\n".join(eager)


def test_nothing_inside_uses_the_public_aliases_of_ops() -> None:
    aliases = tuple(f"graphrt.ops.{name}" for name in OPS_ALIASES)
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line} imports {module}"
        for path in FILES
        for module, line, _ in imports(path)
        if module.startswith(aliases) and path.relative_to(PACKAGE).parts[0] not in ("__init__.py", "ops")
    ]
    assert not wrong, "\n".join(wrong)


def test_every_folder_has_its_place() -> None:
    known = {*PIPELINE, *BEYOND, *SEES_ALL}
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES} <= known


def test_the_check_itself_sees_what_it_should(tmp_path: Path) -> None:
    folder = PACKAGE / "ir"
    assert allowed(folder / "x.py", "errors", "graphrt.errors", False)
    assert not allowed(folder / "x.py", "ops", "graphrt.ops", True)
    assert not allowed(PACKAGE / "ops" / "views.py", "frontend", "graphrt.frontend", True)
    assert allowed(PACKAGE / "ops" / "functional.py", "frontend", "graphrt.frontend", True)
    assert not allowed(PACKAGE / "ops" / "__init__.py", "frontend", "graphrt.frontend", False)
    assert not allowed(PACKAGE / "dataset" / "x.py", "runtime", "graphrt.runtime.sink", True)
    assert not allowed(PACKAGE / "passes" / "x.py", "schedule", "graphrt.schedule", False)
    assert allowed(PACKAGE / "compiler.py", "runtime", "graphrt.runtime", False)
    found = {module: lazy for module, _, lazy in imports(folder / "export.py")}
    assert found["networkx"] is True
    assert found["graphrt.ir.text.VERSION"] is False
    assert part("numpy") is None
