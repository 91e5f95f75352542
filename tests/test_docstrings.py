"""Every public name says what it is, and every argument is explained where users look: in the docstring of the function
or class, of a base class, of its module, or among the shared arguments of its package (`help(graphrt.nn)`)."""

import enum
import importlib
import inspect
import re
import sys

import pytest

PACKAGES = (
    "graphrt", "graphrt.nn", "graphrt.ops", "graphrt.ops.operations", "graphrt.train", "graphrt.train.callback",
    "graphrt.dataset", "graphrt.dataset.vision", "graphrt.dataset.transforms", "graphrt.amp", "graphrt.common",
    "graphrt.common.initializer", "graphrt.context", "graphrt.onnx", "graphrt.errors",
)  # fmt: skip
SHARED = ("graphrt.nn", "graphrt.ops", "graphrt.common.initializer")  # packages that explain shared arguments
MARKED = re.compile(r"`(\w+)`")


def public_names():
    """(name, object) of every function and class of the package that users can import, once."""
    seen = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", None) or [n for n in dir(module) if not n.startswith("_")]:
            value = getattr(module, name)
            if callable(value) and str(getattr(value, "__module__", "")).startswith("graphrt"):
                seen.setdefault(id(value), (f"{package}.{name}", value))
    return list(seen.values())


NAMES = public_names()


def own_bases(cls):
    return [base for base in cls.__mro__ if base.__module__.startswith("graphrt")]


def explanation(value):
    """All words that explain `value` and its arguments."""
    parts = own_bases(value) if inspect.isclass(value) else [value]
    texts = []
    for part in parts:
        texts += [vars(part).get("__doc__") if inspect.isclass(part) else part.__doc__]
        texts += [sys.modules[part.__module__].__doc__]
        texts += [
            vars(part)[name].__doc__
            for name in ("__init__", "construct")
            if inspect.isclass(part) and name in vars(part)
        ]
    return set(re.findall(r"\w+", " ".join(filter(None, texts))))


def arguments(name, value):
    """The names of the arguments that need an explanation. The first operand of an operation is what its first words are
    about: "The sine of radians." """
    if inspect.isclass(value) and issubclass(value, (enum.Enum, BaseException)):
        return []
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):  # a dict, which takes anything
        return []
    if name.startswith("graphrt.ops.") and not inspect.isclass(value):
        parameters = parameters[1:]
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.kind not in variadic and not p.name.startswith("_")]


def test_there_is_something_to_check():
    assert len(NAMES) > 600


@pytest.mark.parametrize("package", PACKAGES)
def test_modules(package):
    assert importlib.import_module(package).__doc__


def test_every_name_has_a_docstring_of_its_own():
    missing = [
        name for name, value in NAMES
        if not (vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__)
    ]  # fmt: skip
    assert missing == []


def test_every_argument_is_explained():
    shared = {package: set(MARKED.findall(importlib.import_module(package).__doc__)) for package in SHARED}
    missing = {}
    for name, value in NAMES:
        known = explanation(value).union(
            *(words for package, words in shared.items() if name.startswith(package))
        )
        unknown = [argument for argument in arguments(name, value) if argument not in known]
        if unknown:
            missing[f"{name} ({value.__module__})"] = unknown
    assert missing == {}


def test_every_method_has_a_docstring():
    """Its own, or that of the method it overrides."""
    missing = []
    for name, value in NAMES:
        for method, member in vars(value).items() if inspect.isclass(value) else ():
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if method.startswith("_") or not inspect.isfunction(function):
                continue
            overridden = [vars(base)[method] for base in own_bases(value) if method in vars(base)]
            if not any(m.__doc__ for m in overridden):
                missing.append(f"{name}.{method}")
    assert missing == []
