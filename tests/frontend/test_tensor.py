"""Tensor: conversions, operators against NumPy, methods, printing."""

import copy
import operator
import pickle

import numpy as np
import pytest

import graphrt
from graphrt import Tensor, ops
from graphrt.errors import DTypeError, ShapeError

X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2
Y = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


@pytest.mark.parametrize(
    "value, expected",
    [
        (1, "int64"), (1.5, "float32"), (True, "bool"), ([1, 2], "int64"), ([1.0, 2.0], "float32"),
        (np.float64(2.0), "float64"), (np.zeros(2, np.uint8), "uint8"), (np.zeros(2), "float64"),
        (np.zeros(2, ">f4"), "float32"),
    ],
)  # fmt: skip
def test_element_type_of_new_tensor(value, expected):
    assert Tensor(value).dtype.name == expected


def test_explicit_element_type_and_unknown_one():
    assert Tensor([1, 2], graphrt.float16).dtype == graphrt.float16
    with pytest.raises(DTypeError, match="unknown element type"):
        Tensor(np.array(["a"]))


def test_tensor_copies_what_it_is_given_and_gives_copies():
    array = np.zeros(3, np.float32)
    tensor = Tensor(array)
    array[0] = 5
    tensor.asnumpy()[1] = 7
    np.asarray(tensor)[2] = 9
    assert tensor.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "name", ["add", "sub", "mul", "truediv", "floordiv", "mod", "lt", "le", "gt", "ge", "eq", "ne"]
)
@pytest.mark.parametrize(
    "other", [Tensor(Y), Y, 2, 2.5, Tensor(Y[0])], ids=["tensor", "array", "int", "float", "row"]
)
def test_operators_agree_with_numpy(name, other):
    function = getattr(operator, name)
    plain = other.asnumpy() if isinstance(other, Tensor) else other
    for got, expected in [
        (function(Tensor(X), other), function(X, plain)),
        (function(other, Tensor(Y)), function(plain, Y)),
    ]:
        assert isinstance(got, Tensor)
        assert got.asnumpy().dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(got.asnumpy(), expected, rtol=1e-6)


def test_pow_matmul_and_unary():
    np.testing.assert_allclose((Tensor(Y) ** 2).asnumpy(), Y**2, rtol=1e-6)
    np.testing.assert_allclose((2 ** Tensor(X)).asnumpy(), 2**X, rtol=1e-6)
    np.testing.assert_allclose((Tensor(X) @ Tensor(Y).T).asnumpy(), X @ Y.T)
    np.testing.assert_allclose((X @ Tensor(Y).T).asnumpy(), X @ Y.T)
    np.testing.assert_array_equal((-Tensor(X)).asnumpy(), -X)
    np.testing.assert_array_equal(abs(Tensor(X)).asnumpy(), np.abs(X))
    np.testing.assert_array_equal((~Tensor([True, False])).asnumpy(), [False, True])
    np.testing.assert_array_equal((Tensor([6, 5]) & 3).asnumpy(), [2, 1])
    np.testing.assert_array_equal((Tensor([1, 2]) << 2).asnumpy(), [4, 8])


def test_promotion():
    assert (Tensor([1, 2], "int32") + 1).dtype.name == "int32"
    assert (Tensor([1, 2], "int32") + 1.0).dtype.name == "float32"
    assert (Tensor([1, 2], "int32") + Tensor([1.0, 2.0])).dtype.name == "float32"
    assert (Tensor([1.0]) + 1.0).dtype.name == "float32"


def test_unknown_operand_is_not_implemented():
    with pytest.raises(TypeError, match="unsupported operand"):
        Tensor(X) + "a"


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1)])
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min"])
def test_reductions(name, axis):
    got = getattr(Tensor(Y), name)(axis)
    np.testing.assert_allclose(got.asnumpy(), getattr(np, name)(Y, axis=axis), rtol=1e-6)


def test_other_methods():
    t = Tensor(X)
    assert (len(t), t.ndim, t.size, t.shape, t.itemsize, t.nbytes) == (2, 2, 6, (2, 3), 4, 24)
    assert t.reshape(3, 2).shape == t.reshape((3, -1)).shape == t.view(3, 2).shape == (3, 2)
    assert t.transpose().shape == t.transpose(1, 0).shape == t.transpose((1, 0)).shape == t.T.shape == (3, 2)
    assert t.flatten().shape == (6,)
    assert t.expand_dims(0).shape == (1, 2, 3)
    assert t.expand_dims(0).squeeze().shape == (2, 3)
    np.testing.assert_allclose(t.var().asnumpy(), X.var(), rtol=1e-6)
    np.testing.assert_allclose(t.std(axis=0, ddof=1).asnumpy(), X.std(axis=0, ddof=1), rtol=1e-6)
    np.testing.assert_array_equal(t.argmax(1).asnumpy(), X.argmax(1))
    np.testing.assert_array_equal(t.clip(-1, 1).asnumpy(), X.clip(-1, 1))
    assert t.astype("int32").dtype.name == t.int().dtype.name == "int32"
    assert [row.tolist() for row in t] == X.tolist()
    assert (t > 0).any().item() is True and (t > 0).all().item() is False
    assert Tensor(3).item() == 3 and int(Tensor(3.7)) == 3 and float(Tensor(2)) == 2.0
    assert 3.0 in t and 9.0 not in t
    with pytest.raises(TypeError, match="0-d"):
        len(Tensor(1))
    with pytest.raises(ValueError, match="ambiguous"):
        bool(t)


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        slice(0, 1),
        (slice(None), 1),
        (0, 2),
        (Ellipsis, 0),
        None,
        (slice(None, None, -1), slice(None, None, 2)),
    ],
    ids=str,
)
def test_indexing(index):
    np.testing.assert_array_equal(Tensor(X)[index].asnumpy(), X[index])


def test_indexing_with_tensors_and_masks():
    np.testing.assert_array_equal(Tensor(X)[Tensor([1, 0])].asnumpy(), X[[1, 0]])
    np.testing.assert_array_equal(Tensor(X)[Tensor(X) > 0].asnumpy(), X[X > 0])


def test_setting_elements_leaves_earlier_views_alone():
    t = Tensor(X)
    view = t.reshape(6)
    t[0] = 0
    assert t.tolist()[0] == [0, 0, 0] and view.tolist()[:3] == X[0].tolist()


def test_printing():
    assert str(Tensor(X)) == str(X)
    assert repr(Tensor(np.ones((1, 2), np.float32))) == (
        "Tensor(shape=[1, 2], dtype=Float32, value=\n[[ 1.00000000e+00,  1.00000000e+00]])"
    )
    assert repr(Tensor(1)) == "Tensor(shape=[], dtype=Int64, value= 1)"
    loss = Tensor(np.float32(2.302585))
    assert f"{loss:>7f}" == f"{loss.asnumpy():>7f}" == "2.302585"


def test_numpy_functions():
    assert isinstance(np.exp(Tensor(X)), np.ndarray)
    np.testing.assert_allclose(np.mean(Tensor(X), axis=0), X.mean(0))
    np.testing.assert_array_equal(np.concatenate([Tensor(X), Y]), np.concatenate([X, Y]))
    assert isinstance(np.float32(2) * Tensor(X), Tensor)


def test_copy_and_pickle():
    t = Tensor(X)
    for other in (copy.deepcopy(t), pickle.loads(pickle.dumps(t)), t.copy()):
        other[0] = 9
        assert t.tolist() == X.tolist()


def test_error_names_the_users_line():
    with pytest.raises(ShapeError) as caught:
        Tensor(X) + Tensor(np.zeros(4, np.float32))
    assert "test_tensor.py:" in str(caught.value)
    assert "float32[4]" in str(caught.value)


def test_ops_namespace():
    assert ops.ReLU()(Tensor(X)).tolist() == np.maximum(X, 0).tolist()
    assert ops.reduce_sum(Tensor(X)).item() == X.sum()
    values, positions = ops.max(Tensor(X), 1)
    assert values.tolist() == X.max(1).tolist() and positions.tolist() == X.argmax(1).tolist()
    from graphrt.ops import composite, functional, operations

    assert functional.relu is ops.relu and composite.grad is ops.grad
    assert operations.ReduceMean(keep_dims=True)(Tensor(X), (0, 1)).shape == (1, 1)
    assert operations.Shape()(Tensor(X)) == (2, 3)
    assert operations.Fill()(operations.DType()(Tensor(X)), (2,), 3.0).tolist() == [3.0, 3.0]
    assert operations.MatMul(transpose_b=True)(Tensor(X), Tensor(Y)).shape == (2, 2)
    with pytest.raises(AttributeError, match="no_such"):
        _ = ops.no_such
