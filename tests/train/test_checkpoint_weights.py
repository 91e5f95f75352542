"""Weights in files: what is written can be read, here and by others; names and shapes that do not fit are named."""

import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

import graphrt
from graphrt import nn
from graphrt.errors import ArgumentError, CheckpointError
from graphrt.train import weights_file
from graphrt.train.serialization import load_checkpoint as load_by_the_old_path


def make_net():
    return nn.SequentialCell(
        nn.Conv2d(1, 2, 3),
        nn.BatchNorm2d(2),
        nn.Dropout(p=0.5),
        nn.Flatten(),
        nn.Dense(32, 3),
        nn.LayerNorm((3,)),
    )


def values(net):
    return {p.name: p.asnumpy().copy() for p in net.get_parameters()}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "name, file", [("net", "net.safetensors"), ("net.ckpt", "net.ckpt"), ("net-1_2", "net-1_2.safetensors")]
)
def test_a_network_comes_back(tmp_path, name, file):
    net, other = make_net(), make_net()
    assert graphrt.save_checkpoint(net, tmp_path / name) is None
    assert [path.name for path in tmp_path.iterdir()] == [file]
    loaded = graphrt.load_checkpoint(str(tmp_path / name))
    assert all(isinstance(p, graphrt.Parameter) and p.name == key for key, p in loaded.items())
    assert graphrt.load_param_into_net(other, loaded) == ([], [])
    assert same(values(other), values(net))
    assert same(
        {n: p.asnumpy() for n, p in load_by_the_old_path(tmp_path / name, net=make_net()).items()},
        values(net),
    )


def test_memory_of_parameters_stays_where_it_is(tmp_path):
    """Native programs are bound to it."""
    net = make_net()
    graphrt.save_checkpoint(net, tmp_path / "net")
    before = {p.name: p._array.ctypes.data for p in net.get_parameters()}
    graphrt.load_checkpoint(tmp_path / "net", net)
    assert {p.name: p._array.ctypes.data for p in net.get_parameters()} == before


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
                                   "float16", "float32", "float64", ml_dtypes.bfloat16])  # fmt: skip
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (3, 5, 2)])
def test_every_element_type_and_shape(tmp_path, dtype, shape):
    array = (np.random.default_rng(0).random(shape) * 50).astype(dtype)
    strided = np.stack([array, array], -1)[..., 0]
    graphrt.save_checkpoint({"a": array, "b": graphrt.Tensor(array), "c": strided}, tmp_path / "x")
    for loaded in graphrt.load_checkpoint(tmp_path / "x").values():
        found = loaded.asnumpy()
        assert found.dtype == array.dtype and found.shape == shape and found.tobytes() == array.tobytes()


def test_other_readers_and_writers(tmp_path):
    """The safetensors package reads what is written here, and the other way round, big-endian arrays included."""
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b.c": np.array([1, 2], np.int64)}
    graphrt.save_checkpoint([{"name": name, "data": array} for name, array in arrays.items()], tmp_path / "x")
    assert same(safetensors.numpy.load_file(tmp_path / "x.safetensors"), arrays)
    safetensors.numpy.save_file(
        {n: a.astype(a.dtype.newbyteorder(">")) for n, a in arrays.items()}, tmp_path / "y"
    )
    assert same({n: p.asnumpy() for n, p in graphrt.load_checkpoint(tmp_path / "y").items()}, arrays)


def test_optimizers_and_more_entries(tmp_path):
    net = nn.Dense(2, 1)
    optimizer = nn.Momentum(net.trainable_params(), 0.1, 0.9)
    optimizer.global_step.set_data(7)
    graphrt.save_checkpoint(optimizer, tmp_path / "o", append_dict={"epoch": 3, "rate": 0.5})
    loaded = graphrt.load_checkpoint(tmp_path / "o")
    assert (
        loaded["global_step"].asnumpy() == 7 and loaded["epoch"].asnumpy() == 3 and "moments.weight" in loaded
    )
    fresh = nn.Momentum(nn.Dense(2, 1).trainable_params(), 0.3, 0.9)
    missing, unused = graphrt.load_param_into_net(fresh, loaded)
    assert missing == [] and set(unused) == {"epoch", "rate"}
    assert fresh.global_step.asnumpy() == 7 and fresh.learning_rate.asnumpy() == np.float32(0.1)


def test_the_order_is_that_of_the_file(tmp_path):
    graphrt.save_checkpoint({name: np.ones(1, np.float32) for name in "zaybx"}, tmp_path / "x")
    orders = {tuple(graphrt.load_checkpoint(tmp_path / "x")) for _ in range(20)}
    assert orders == {("a", "b", "x", "y", "z")}


def test_choosing_names(tmp_path):
    net = make_net()
    graphrt.save_checkpoint(net, tmp_path / "some", choice_func=lambda name: name.startswith("4."))
    assert set(graphrt.load_checkpoint(tmp_path / "some")) == {"4.weight", "4.bias"}
    graphrt.save_checkpoint(net, tmp_path / "all")
    load = graphrt.load_checkpoint
    assert set(load(tmp_path / "all", specify_prefix="4.")) == {"4.weight", "4.bias"}
    assert not any(n.startswith(("1.", "4.")) for n in load(tmp_path / "all", filter_prefix=["1.", "4."]))
    assert set(load(tmp_path / "all", choice_func=lambda name: name.endswith("gamma"))) == {
        "1.gamma",
        "5.gamma",
    }
    with pytest.raises(CheckpointError, match="nothing to load"):
        load(tmp_path / "all", specify_prefix="none")


# ------------------------------------------------------------------------------------------- names of other programs


def test_pytorch_names(tmp_path):
    """A file as torch.nn writes it, and the output of torch's formulas (evaluation mode) in float64."""
    draw = np.random.default_rng(0)

    def random(*shape):
        return draw.standard_normal(shape).astype(np.float32)

    theirs = {
        "features.0.weight": random(4, 3), "features.0.bias": random(4),
        "features.1.weight": random(4), "features.1.bias": random(4), "features.1.running_mean": random(4),
        "features.1.running_var": random(4) ** 2, "features.1.num_batches_tracked": np.array(9),
        "embed.weight": random(6, 4), "norm.weight": random(4), "norm.bias": random(4),
    }  # fmt: skip
    safetensors.numpy.save_file(theirs, tmp_path / "model.safetensors")

    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.features = nn.SequentialCell(nn.Dense(3, 4), nn.BatchNorm1d(4))
            self.embed, self.norm = nn.Embedding(6, 4), nn.LayerNorm((4,), epsilon=1e-5)

        def construct(self, x, ids):
            return self.norm(self.features(x) + self.embed(ids))

    net = Net()
    with pytest.warns(
        UserWarning, match=r"features.1.gamma.*; names of PyTorch.*name_map=graphrt.torch_names"
    ):
        graphrt.load_checkpoint(tmp_path / "model.safetensors", Net())
    loaded = graphrt.load_checkpoint(tmp_path / "model.safetensors", name_map=graphrt.torch_names(net))
    assert graphrt.load_param_into_net(net, loaded, strict_load=True) == ([], [])
    x, ids = random(5, 3), np.array([0, 5, 2, 2, 1], np.int32)
    t = {name: array.astype(np.float64) for name, array in theirs.items()}
    y = x @ t["features.0.weight"].T + t["features.0.bias"]
    y = (y - t["features.1.running_mean"]) / np.sqrt(t["features.1.running_var"] + 1e-5)
    y = y * t["features.1.weight"] + t["features.1.bias"] + t["embed.weight"][ids]
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    y = y * t["norm.weight"] + t["norm.bias"]
    np.testing.assert_allclose(net(graphrt.Tensor(x), graphrt.Tensor(ids)).asnumpy(), y, rtol=2e-4, atol=2e-4)


def test_name_maps(tmp_path):
    graphrt.save_checkpoint({"a.w": np.ones(2), "b.w": np.zeros(2), "c": np.zeros(1)}, tmp_path / "x")

    def names(name_map):
        return set(graphrt.load_checkpoint(tmp_path / "x", name_map=name_map))

    assert names({"a.w": "first", "c": None}) == {"first", "b.w"}
    assert names(lambda name: None if name == "c" else name.replace(".w", ".weight")) == {
        "a.weight",
        "b.weight",
    }
    with pytest.raises(CheckpointError, match=r"the same name(.|\n)*'a.w' and 'b.w' -> 'x'"):
        names({"a.w": "x", "b.w": "x"})
    with pytest.raises(ArgumentError, match=r"gives no name(.|\n)*3 for '"):
        names(lambda name: 3)
    with pytest.raises(ArgumentError, match="must be a dict or a function"):
        names(["a"])


def test_what_is_missing_is_named_with_what_was_meant(tmp_path):
    net = make_net()
    wanted = values(net)
    given = {
        "1.gama" if n == "1.gamma" else "net.4.weight" if n == "4.weight" else n: v for n, v in wanted.items()
    }
    del given["2.key"]  # the stream of a dropout layer: other programs do not have it
    other = make_net()
    before = values(other)
    expected = "1.gamma (did you mean 1.gama?), 4.weight (did you mean net.4.weight?)"
    with pytest.raises(CheckpointError) as error:
        graphrt.load_param_into_net(other, given, strict_load=True)
    assert expected in str(error.value) and "nothing was loaded" in str(error.value)
    assert same(values(other), before)
    with pytest.warns(UserWarning) as caught:
        missing = graphrt.load_param_into_net(other, given)
    assert str(caught[0].message) == f"load_param_into_net: not loaded: {expected}"
    assert missing == (["1.gamma", "4.weight"], ["1.gama", "net.4.weight"])
    for name, value in values(other).items():
        assert np.array_equal(value, (before if name in ("1.gamma", "4.weight", "2.key") else wanted)[name])


def test_shapes_and_types_that_do_not_fit_are_all_named():
    net = nn.Dense(3, 2)
    before = values(net)
    wrong = {"weight": np.zeros((2, 4), np.float32), "bias": np.zeros(2, np.int32)}
    with pytest.raises(CheckpointError) as error:
        graphrt.load_param_into_net(net, wrong)
    assert "weight: float32[2, 4] for float32[2, 3]; bias: int32[2] for float32[2]" in str(error.value)
    half = {"weight": np.full((2, 3), 0.1, np.float16), "bias": np.zeros(2, np.float32)}
    with pytest.raises(CheckpointError, match="float16"):
        graphrt.load_param_into_net(net, half, strict_load=True)
    assert same(values(net), before)
    graphrt.load_param_into_net(net, half)
    assert np.array_equal(net.weight.asnumpy(), half["weight"].astype(np.float32))


def test_arguments_that_cannot_be_used(tmp_path):
    net = nn.Dense(1, 1)
    for wrong, text in [(3, "this cannot be saved"), ([1], "this cannot be saved"), ({1: 2}, "names must be strings"),
                        ({"a": "x"}, "not an array"), ({"a": object()}, "not an array")]:  # fmt: skip
        with pytest.raises(ArgumentError, match=text):
            graphrt.save_checkpoint(wrong, tmp_path / "x")
    with pytest.raises(CheckpointError, match="two parameters have the name 'a'"):
        graphrt.save_checkpoint([{"name": "a", "data": 1}] * 2, tmp_path / "x")
    with pytest.raises(ArgumentError, match="not encrypted"):
        graphrt.save_checkpoint(net, tmp_path / "x", enc_key=b"0123456789012345")
    with pytest.raises(ArgumentError, match="a Cell is needed"):
        graphrt.load_param_into_net({}, {})
    with pytest.raises(ArgumentError, match=r"parameters by name(.|\n)*load_checkpoint\(file\)"):
        graphrt.load_param_into_net(net, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_opened(tmp_path):
    graphrt.save_checkpoint({"a": np.ones(1)}, tmp_path / "model-1_10")
    with pytest.raises(CheckpointError, match=r"cannot be read(.|\n)*did you mean .*model-1_10.safetensors"):
        graphrt.load_checkpoint(tmp_path / "model-1_1")
    with pytest.raises(CheckpointError, match=r"name a file in this directory|not a plain file"):
        graphrt.load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=r"could not be written(.|\n)*create the directory first"):
        graphrt.save_checkpoint({"a": np.ones(1)}, tmp_path / "no" / "x")


# ---------------------------------------------------------------------------------------------------- hostile files


def file_of(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


HOSTILE = [
    b"", b"\0", b"\0" * 8, b"\0" * 100, b"{}", b"\x80\x02cposix\nsystem\n", b"PK\x03\x04" * 9, b"\n\x0cfc1.weight\x12" * 9,
    file_of(b"{}", length=2**63), file_of(b"{}", length=2**64 - 1), file_of(b"{}", length=3), file_of(b"{}", length=0),
    file_of(b"{}", length=1 << 30), file_of(b"{", b""), file_of(b"[]"), file_of(b"null"), file_of(b"{" * 10**5),
    file_of(b'{"a":' * 10**5), file_of(b"{" + b" " * (17 << 20) + b"}"), file_of(b'{"a": NaN}'), file_of(b"\xff\xfe{}"),
    file_of({"a": 1}), file_of({"a": None}), file_of({"a": {}}), file_of({"a": []}), file_of({"": 0}),
    file_of({"a": entry()}), file_of({"a": entry()}, b"\0" * 7), file_of({"a": entry()}, b"\0" * 9),
    file_of({"a": entry(offsets=(0, 4))}, b"\0" * 4), file_of({"a": entry(offsets=(8, 0))}, b"\0" * 8),
    file_of({"a": entry(offsets=(-8, 0))}, b"\0" * 8), file_of({"a": entry(offsets=(4, 12))}, b"\0" * 12),
    file_of({"a": entry(offsets=(0, 2**63))}, b"\0" * 8), file_of({"a": entry(offsets=(0, 2**70))}, b"\0" * 8),
    file_of({"a": entry(offsets=(0,))}, b"\0" * 8), file_of({"a": entry(offsets=(0, 8, 16))}, b"\0" * 16),
    file_of({"a": entry(offsets=("0", "8"))}, b"\0" * 8), file_of({"a": entry(offsets=(0.0, 8.0))}, b"\0" * 8),
    file_of({"a": entry(shape=(3,))}, b"\0" * 8), file_of({"a": entry(shape=(-2,))}, b"\0" * 8),
    file_of({"a": entry(shape=(2**62, 2))}, b"\0" * 8), file_of({"a": entry(shape=(2**32, 2**32, 2))}, b"\0" * 8),
    file_of({"a": entry(shape=(2**63,))}, b"\0" * 8), file_of({"a": entry(shape=(2**80,))}, b"\0" * 8),
    file_of({"a": entry(shape=(0, 2**62), offsets=(0, 0))}), file_of({"a": entry(shape=(2**62, 0, 2**62), offsets=(0, 0))}),
    file_of({"a": entry(shape=(1,) * 100, offsets=(0, 4))}, b"\0" * 4), file_of({"a": entry(shape="2")}, b"\0" * 8),
    file_of({"a": entry(shape=(True,))}, b"\0" * 4), file_of({"a": entry(shape=(1.5,))}, b"\0" * 6),
    file_of({"a": entry(dtype="F31")}, b"\0" * 8), file_of({"a": entry(dtype="")}, b"\0" * 8),
    file_of({"a": entry(dtype="F8_E4M3", shape=(8,))}, b"\0" * 8), file_of({"a": entry(dtype="C64", shape=(1,))}, b"\0" * 8),
    file_of({"a": entry(dtype=32)}, b"\0" * 8), file_of({"a": entry(dtype="object")}, b"\0" * 8),
    file_of({"a": entry(), "b": entry()}, b"\0" * 8), file_of({"a": entry(), "b": entry(offsets=(4, 12))}, b"\0" * 12),
    file_of({"a": entry(), "b": entry(offsets=(16, 24))}, b"\0" * 24),
    file_of({"__metadata__": 3, "a": entry()}, b"\0" * 8), file_of({"__metadata__": {"a": 3}, "a": entry()}, b"\0" * 8),
    file_of({"__metadata__": {"a": {"b": "c"}}, "a": entry()}, b"\0" * 8), file_of({"__metadata__": {"a": "b"}}),
    file_of(b'{"__metadata__":{"a":"b"}}', b"\0"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_files(tmp_path, number):
    (tmp_path / "x.safetensors").write_bytes(HOSTILE[number])
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        graphrt.load_checkpoint(tmp_path / "x.safetensors")


def field(number, content):
    """A field of protobuf's wire format: a number, or something with a length."""

    def varint(value):
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)

    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def checkpoint_of_mindspore(**arrays):
    """What MindSpore's save_checkpoint writes (its file checkpoint.proto): values with a tag and a tensor, which has
    dimensions, a type and its bytes."""
    content = b""
    for name, array in arrays.items():
        dimensions = b"".join(field(1, extent) for extent in array.shape)
        tensor = dimensions + field(2, b"Float32") + field(3, array.tobytes())
        content += field(1, field(1, name.replace("__", ".").encode()) + field(2, tensor))
    return content


@pytest.mark.parametrize("size", [1, 40, 5000])  # the length of the first value takes one to three bytes
def test_checkpoints_of_mindspore_are_recognised(tmp_path, monkeypatch, size):
    monkeypatch.chdir(tmp_path)
    content = checkpoint_of_mindspore(
        conv1__weight=np.ones((size, 1), np.float32), fc__bias=np.ones(3, np.float32)
    )
    (tmp_path / "net.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        graphrt.load_checkpoint("net.ckpt")
    assert str(caught.value) == (
        "not a safetensors file: net.ckpt\n"
        f"  at:       {caught.value.at}\n"
        "  expected: what graphrt.save_checkpoint writes\n"
        "  given:    a checkpoint of MindSpore (protobuf); its first parameter is 'conv1.weight'\n"
        "  fix:      where MindSpore is installed, run\n"
        "              from mindspore import load_checkpoint\n"
        "              from safetensors.numpy import save_file\n"
        '              save_file({name: p.asnumpy() for name, p in load_checkpoint("net.ckpt").items()}, "net.safetensors")\n'
        "            and load net.safetensors"
    )


def test_what_the_message_says_converts(tmp_path, monkeypatch):
    """The lines of the message, with a stand-in for MindSpore's load_checkpoint."""
    import sys
    import types

    monkeypatch.chdir(tmp_path)
    values = {"conv1.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "fc.bias": np.ones(3, np.float16)}
    (tmp_path / "net.ckpt").write_bytes(checkpoint_of_mindspore(conv1__weight=values["conv1.weight"]))
    with pytest.raises(CheckpointError) as caught:
        graphrt.load_checkpoint("net.ckpt")
    stand_in = types.ModuleType("mindspore")
    stand_in.load_checkpoint = lambda path: {name: graphrt.Tensor(value) for name, value in values.items()}
    monkeypatch.setitem(sys.modules, "mindspore", stand_in)
    lines = caught.value.fix.splitlines()[1:4]
    exec("\n".join(line.strip() for line in lines), {})
    found = graphrt.load_checkpoint("net.safetensors")
    assert {name: p.asnumpy().tobytes() for name, p in found.items()} == {
        n: v.tobytes() for n, v in values.items()
    }


def test_other_files_that_are_recognised(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.ones(3))
    with pytest.raises(
        CheckpointError, match=r"zip archive or pickle(.|\n)*safetensors.torch import save_file(.|\n)*x.npz"
    ):
        graphrt.load_checkpoint(tmp_path / "x.npz")
    whole = checkpoint_of_mindspore(a=np.ones(3, np.float32))
    for content in (
        whole[:12],
        b"\n\x7f" + whole,
        b"\n\x05\n\x03\xff\xfe\xfd",
        b"\n" + b"\xff" * 20,
        b"\n\x00" * 8,
    ):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(CheckpointError, match="not a whole safetensors file"):
            graphrt.load_checkpoint(tmp_path / "x")


def test_two_thousand_mutants(tmp_path):
    """Bytes changed, removed, repeated: an error of graphrt, or arrays no larger than the file."""
    draw = np.random.default_rng(0)
    good = weights_file.encode(
        {"a": np.ones((3, 2), np.float32), "b": np.arange(5), "c": np.array([True])}, {"note": "text"}
    )
    read = 0
    for _ in range(2000):
        mutant = bytearray(good)
        for _ in range(draw.integers(1, 4)):
            place = int(draw.integers(len(mutant)))
            kind = draw.integers(4)
            if kind == 0:
                mutant[place] = int(draw.integers(256))
            elif kind == 1:
                mutant[place] ^= 1 << int(draw.integers(8))
            elif kind == 2:
                del mutant[place : place + int(draw.integers(1, 9))]
            else:
                mutant[place:place] = mutant[place : place + int(draw.integers(1, 9))]
        try:
            found = weights_file.decode(bytes(mutant), tmp_path / "x.safetensors")
        except CheckpointError:
            continue
        read += 1
        assert sum(array.nbytes for array in found.arrays.values()) <= len(mutant)
    assert 0 < read < 1500


def test_what_is_not_a_plain_file_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(CheckpointError, match="not a plain file"):
        graphrt.load_checkpoint(tmp_path / "pipe.safetensors")


def test_a_file_larger_than_memory_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.safetensors"
    with open(path, "wb") as file:
        file.write(file_of({"a": entry()}))
        file.truncate(1 << 42)  # a hole: it takes no room on the disk
    with pytest.raises(graphrt.GraphrtError, match="not enough memory"):
        graphrt.load_checkpoint(path)
