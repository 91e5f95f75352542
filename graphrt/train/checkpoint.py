"""Weights in files: `save_checkpoint`, `load_checkpoint`, `load_param_into_net`.

In: a Cell (or named arrays) and a file name; or a `.safetensors` file of graphrt, PyTorch or anybody else. Out: the
file; or Parameters by name, and a network that holds their values. The state of a whole training run is kept by
`ModelCheckpoint`, whose files can be read here too.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, CheckpointError
from ..frontend.cell import Cell
from ..frontend.location import user_source
from ..frontend.parameter import Parameter
from ..frontend.tensor import Tensor
from . import durable, weights_file
from .checkpoint_names import NameMap, is_random_key, look_like_torch, mapped, not_loaded_text

INTERNAL = "graphrt."  # names that begin so belong to a training run, not to its network


def save_checkpoint(
    save_obj: Cell | Mapping[str, Any] | Sequence[Mapping[str, Any]],
    ckpt_file_name: str | os.PathLike[str],
    integrated_save: bool = True,
    async_save: bool = False,
    append_dict: Mapping[str, Any] | None = None,
    enc_key: object = None,
    enc_mode: str = "AES-GCM",
    choice_func: Callable[[str], bool] | None = None,
    crc_check: bool = False,
    format: str = "safetensors",
) -> None:
    """Write parameters to a safetensors file, in place of what is there only when all of it is on disk.

    `save_obj`: a Cell (all its parameters: weights, moving averages, random keys; of an optimizer: moments and
    global_step), a dict name -> Parameter, Tensor or array, or a list of {"name": ..., "data": ...}. A name without
    the ending ".safetensors" or ".ckpt" gets ".safetensors". `append_dict`: more entries, arrays or numbers.
    `choice_func(name)`: whether to save a parameter.

    integrated_save, async_save, enc_mode, crc_check and format are accepted for compatibility: the file is always one
    and always safetensors. Raises ArgumentError for anything else to save and for `enc_key` (nothing is encrypted),
    CheckpointError if the file cannot be written; an older file of that name is then as it was.
    `ckpt_file_name`: the file.
    """
    if enc_key is not None:
        raise ArgumentError(
            "save_checkpoint: files are not encrypted", at=user_source(), given="enc_key", fix="leave it out"
        )
    arrays = _arrays(save_obj)
    if choice_func is not None:
        arrays = {name: array for name, array in arrays.items() if choice_func(name)}
    for name, value in (append_dict or {}).items():
        arrays[str(name)] = as_array(value, str(name))
    path = Path(os.fspath(ckpt_file_name))
    if path.suffix not in (weights_file.SUFFIX, ".ckpt"):
        path = path.with_name(path.name + weights_file.SUFFIX)
    content = weights_file.encode(arrays, {"format": "graphrt"})
    try:
        durable.replace_file(path, content)
    except OSError as error:
        raise not_written(path, len(content), error) from error


def not_written(path: Path, size: int, error: OSError) -> CheckpointError:
    """The error for a file that the system would not take."""
    fix = None if path.parent.is_dir() else f"create the directory first: {path.parent}"
    return CheckpointError(
        f"the checkpoint could not be written: {path}", at=user_source(),
        expected=f"room for {size} bytes in a directory that can be written to", given=error.strerror or str(error),
        fix=fix or "free some space or choose another place; older checkpoints are as they were",
    )  # fmt: skip


def _arrays(save_obj: Any) -> dict[str, np.ndarray]:
    pairs: Iterable[tuple[Any, Any]]
    if isinstance(save_obj, Cell):
        pairs = [(parameter.name, parameter) for parameter in save_obj.get_parameters()]
    elif isinstance(save_obj, Mapping):
        pairs = save_obj.items()
    elif isinstance(save_obj, (list, tuple)) and all(
        isinstance(entry, Mapping) and {"name", "data"} <= set(entry) for entry in save_obj
    ):
        pairs = [(entry["name"], entry["data"]) for entry in save_obj]
    else:
        raise ArgumentError(
            "save_checkpoint: this cannot be saved", at=user_source(),
            expected='a Cell, a dict name -> Tensor, or a list of {"name": ..., "data": ...}',
            given=type(save_obj).__name__,
        )  # fmt: skip
    arrays: dict[str, np.ndarray] = {}
    for name, value in pairs:
        if not isinstance(name, str) or not name:
            raise ArgumentError("save_checkpoint: names must be strings", at=user_source(), given=repr(name))
        if name in arrays:
            raise CheckpointError(
                f"two parameters have the name {name!r}", at=user_source(), expected="different names",
                fix="give the Parameters names of their own, or register their Cells as attributes of one network",
            )  # fmt: skip
        arrays[name] = as_array(value, name)
    return arrays


def as_array(value: Any, name: str) -> np.ndarray:
    """A Parameter's, Tensor's, array's or number's value as an array in one of graphrt's element types."""
    array = value.asnumpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype == object or (array.dtype.kind in "USMmV" and array.dtype.name != "bfloat16"):
        raise ArgumentError(
            f"save_checkpoint: the value of {name!r} is not an array", at=user_source(),
            expected="a Parameter, Tensor, array or number", given=type(value).__name__,
        )  # fmt: skip
    return array


def load_checkpoint(
    ckpt_file_name: str | os.PathLike[str],
    net: Cell | None = None,
    strict_load: bool = False,
    filter_prefix: str | Sequence[str] | None = None,
    dec_key: object = None,
    dec_mode: str = "AES-GCM",
    specify_prefix: str | Sequence[str] | None = None,
    choice_func: Callable[[str], bool] | None = None,
    crc_check: bool = False,
    name_map: NameMap | None = None,
) -> dict[str, Parameter]:
    """The Parameters in a safetensors file by name, ready for `load_param_into_net`.

    `name_map`: a dict from the file's names to yours, or a function of a name; None as the new name leaves the entry
    out, names a dict lacks stay as they are. For files written by PyTorch, `torch_names(net)` makes the dict: norm
    layers call their weight and bias `gamma` and `beta` here, their running averages `moving_mean` and
    `moving_variance`. `filter_prefix`: leave out names with one of these beginnings (after renaming), `specify_prefix`:
    keep only those; `choice_func(name)`: whether to keep a name. `net`: load into it as well, with `strict_load`.
    dec_mode and crc_check have no effect.

    Raises CheckpointError if the file is missing, damaged, or holds nothing that was asked for.
    `ckpt_file_name`: the file. Encrypted files cannot be read: `dec_key` must be None.
    """
    if dec_key is not None:
        raise ArgumentError(
            "load_checkpoint: encrypted files cannot be read", at=user_source(), given="dec_key"
        )
    path = Path(os.fspath(ckpt_file_name))
    with_suffix = path.with_name(path.name + weights_file.SUFFIX)
    arrays = weights_file.read(with_suffix if not path.exists() and with_suffix.exists() else path).arrays
    left_out, kept = _prefixes(filter_prefix), _prefixes(specify_prefix)
    result: dict[str, Parameter] = {}
    for name, array in mapped(arrays, name_map, path):
        if name.startswith(INTERNAL) or (left_out and name.startswith(left_out)):
            continue
        if (kept and not name.startswith(kept)) or (choice_func is not None and not choice_func(name)):
            continue
        result[name] = Parameter(array, name=name)
    if not result:
        raise CheckpointError(
            f"nothing to load from {path}", at=user_source(), expected="at least one parameter",
            given=f"{len(arrays)} in the file, none of them asked for" if arrays else "a file without parameters",
        )  # fmt: skip
    if net is not None:
        load_param_into_net(net, result, strict_load)
    return result


def _prefixes(value: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def load_param_into_net(
    net: Cell, parameter_dict: Mapping[str, Any], strict_load: bool = False, remove_redundancy: bool = False
) -> tuple[list[str], list[str]]:
    """Give the parameters of `net` (a network or an optimizer) the values of the same names.

    Returns (names of `net` that got no value, names of `parameter_dict` that were not used). Without `strict_load` a
    warning lists the first, with the closest names of the dict, and values are converted between element types of one
    kind (float16 to float32). With it both are errors. Random keys of dropout layers may be missing.

    Raises CheckpointError, before anything is changed, for shapes and element types that do not fit, naming them all,
    and with `strict_load` for parameters without a value; ArgumentError for other arguments.
    `remove_redundancy` is accepted and has no meaning here.
    """
    if not isinstance(net, Cell):
        raise ArgumentError(
            "load_param_into_net: a Cell is needed", at=user_source(), given=type(net).__name__
        )
    if not isinstance(parameter_dict, Mapping):
        raise ArgumentError(
            "load_param_into_net: parameters by name are needed", at=user_source(),
            expected="a dict as load_checkpoint returns it", given=type(parameter_dict).__name__,
            fix="load_param_into_net(net, load_checkpoint(file))",
        )  # fmt: skip
    pairs, missing, wrong = [], [], []
    used = set()
    for parameter in net.get_parameters():
        if parameter.name not in parameter_dict:
            if not is_random_key(parameter):
                missing.append(parameter.name)
            continue
        used.add(parameter.name)
        value = parameter_dict[parameter.name]
        value = value if isinstance(value, Tensor) else Tensor(value)
        if not _fits(parameter, value, strict_load):
            wrong.append(f"{parameter.name}: {value.type.describe()} for {parameter.type.describe()}")
        pairs.append((parameter, value))
    unused = [name for name in parameter_dict if name not in used]
    if wrong:
        raise CheckpointError(
            "load_param_into_net: values do not fit the network; nothing was loaded", at=user_source(),
            expected="the network's shapes and element types", given="; ".join(wrong),
            fix="build the network with the sizes it was saved with, or leave these names out with filter_prefix",
        )  # fmt: skip
    if missing:
        _report_missing(missing, unused, strict_load)
    for parameter, value in pairs:
        assert parameter._array is not None
        parameter._array[...] = value.asnumpy()  # between element types of one kind: rounds as a cast does
    return missing, unused


def _fits(parameter: Parameter, value: Tensor, strict: bool) -> bool:
    if value.shape != parameter.shape:
        return False
    same = value.dtype == parameter.dtype
    return same or (not strict and value.dtype.kind == parameter.dtype.kind)


def _report_missing(missing: list[str], unused: list[str], strict: bool) -> None:
    text = not_loaded_text(missing, unused)
    hint = ""
    if look_like_torch(missing, unused):
        hint = "; names of PyTorch are known to load_checkpoint(..., name_map=graphrt.torch_names(net))"
    if strict:
        raise CheckpointError(
            "load_param_into_net: the checkpoint has no value for parameters of the network; nothing was loaded",
            at=user_source(), expected="a value for every parameter", given=text + hint,
            fix="rename with load_checkpoint(..., name_map=...), or load what fits with strict_load=False",
        )  # fmt: skip
    warnings.warn(f"load_param_into_net: not loaded: {text}{hint}", stacklevel=3)


def iterate_named(cells: Iterable[Any]) -> Iterator[tuple[str, Parameter]]:
    """(name, Parameter) of several Cells, every Parameter once; where names collide, later ones get _1, _2, ..."""
    names: set[str] = set()
    seen: set[int] = set()
    for cell in cells:
        for parameter in cell.get_parameters() if hasattr(cell, "get_parameters") else ():
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield unique(parameter.name, names), parameter


def unique(name: str, taken: set[str]) -> str:
    """`name`, or `name`_1, `name`_2, ... if that is taken; notes the result as taken."""
    candidate, number = name, 1
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    taken.add(candidate)
    return candidate
