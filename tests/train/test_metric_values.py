"""Metrics against the values MindSpore's documentation prints for its examples, against formulas, and native sums
against batch-by-batch updates."""

import numpy as np
import pytest
from sklearn import metrics as oracle

import graphrt
from graphrt import dataset as ds
from graphrt import nn
from graphrt.errors import ArgumentError, DataError, ShapeError
from graphrt.nn import metrics
from graphrt.train import Callback, Model

# the arrays most examples of mindspore.train (r2.3) share
X = np.array([[0.2, 0.5], [0.3, 0.1], [0.9, 0.6]], np.float32)
Y = np.array([1, 0, 1])
MASK = np.array([[0, 1], [1, 0], [0, 1]], np.float32)

# (metric, inputs, the result printed there)
DOCUMENTED = {
    "Accuracy": (metrics.Accuracy(), (X, Y), 0.6666666666666666),
    "Precision": (metrics.Precision(), (X, Y), [0.5, 1.0]),
    "Recall": (metrics.Recall(), (X, Y), [1.0, 0.5]),
    "F1": (metrics.F1(), (X, Y), [0.66666667, 0.66666667]),
    "Fbeta": (metrics.Fbeta(1), (X, Y), [0.66666667, 0.66666667]),
    "Dice": (metrics.Dice(smooth=1e-5), (X, MASK), 0.20467791371802546),
    "Perplexity": (metrics.Perplexity(), (X, Y), 2.231443166940565),
    "MAE": (metrics.MAE(), (np.float32([0.1, 0.2, 0.6, 0.9]), np.float32([0.1, 0.25, 0.7, 0.9])), 0.037499990314),
    "MSE": (metrics.MSE(), (np.float32([0.1, 0.2, 0.6, 0.9]), np.float32([0.1, 0.25, 0.5, 0.9])), 0.003125000978),
    "ConfusionMatrix": (
        metrics.ConfusionMatrix(num_classes=2), (np.array([1, 0, 1, 0]), np.array([1, 0, 0, 1])), [[1, 1], [1, 1]],
    ),
    "CosineSimilarity": (
        metrics.CosineSimilarity(), (np.array([[1, 3, 4, 7], [2, 4, 2, 5], [3, 1, 5, 8]]),),
        [[0.0, 0.94025615, 0.95162452], [0.94025615, 0.0, 0.86146098], [0.95162452, 0.86146098, 0.0]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_values(name):
    metric, inputs, expected = DOCUMENTED[name]
    np.testing.assert_allclose(metric(*map(graphrt.Tensor, inputs)), expected, rtol=1e-6)


def test_the_documented_roc_curve():
    false, true, thresholds = metrics.ROC(pos_label=1)(np.array([3, 1, 4, 2]), np.array([0, 1, 2, 3]))
    np.testing.assert_allclose(false, [0, 1 / 3, 2 / 3, 1, 1])
    np.testing.assert_allclose(true, [0, 0, 0, 0, 1])
    assert thresholds.tolist() == [5, 4, 3, 2, 1]


@pytest.fixture(scope="module")
def draw():
    """(scores (60, 4), class numbers (60,)) where some classes are never predicted well."""
    random = np.random.default_rng(3)
    labels = random.integers(0, 4, 60)
    scores = random.standard_normal((60, 4)) + 1.5 * np.eye(4)[labels] * [1, 1, 0.2, 0]
    return scores.astype(np.float32), labels.astype(np.int32)


def updated(metric, *columns, size=13):
    metric.clear()
    for start in range(0, len(columns[0]), size):
        metric.update(*(column[start : start + size] for column in columns))
    return metric.eval()


def test_counts_per_class_equal_sklearn(draw):
    scores, labels = draw
    found = scores.argmax(1)
    for metric, function in (
        (metrics.Precision(), oracle.precision_score),
        (metrics.Recall(), oracle.recall_score),
        (metrics.F1(), oracle.f1_score),
        (metrics.Fbeta(2.0), lambda *a, **k: oracle.fbeta_score(*a, beta=2.0, **k)),
    ):
        expected = function(labels, found, average=None, zero_division=0)
        np.testing.assert_allclose(updated(metric, scores, labels), expected)
        np.testing.assert_allclose(updated(metric, scores, np.eye(4)[labels]), expected)
        assert metric.eval(average=True) == pytest.approx(expected.mean())
    for normalize, name in (("no_norm", None), ("target", "true"), ("prediction", "pred"), ("all", "all")):
        matrix = updated(metrics.ConfusionMatrix(4, normalize), scores, labels)
        np.testing.assert_allclose(matrix, oracle.confusion_matrix(labels, found, normalize=name))


def test_multilabel_equals_sklearn():
    random = np.random.default_rng(4)
    found, wanted = random.integers(0, 2, (2, 40, 3))
    found[:5] = wanted[:5]
    np.testing.assert_allclose(
        updated(metrics.Precision("multilabel"), found, wanted),
        oracle.precision_score(wanted, found, average=None),
    )
    np.testing.assert_allclose(
        updated(metrics.Recall("multilabel"), found, wanted), oracle.recall_score(wanted, found, average=None)
    )
    assert updated(metrics.Accuracy("multilabel"), found, wanted) == oracle.accuracy_score(wanted, found)


def test_areas_equal_sklearn(draw):
    scores, labels = draw
    binary = (labels > 1).astype(np.int32)
    rounded = np.round(scores[:, 0], 1)  # with equal scores
    assert updated(metrics.AreaUnderCurve(), rounded, binary) == pytest.approx(
        oracle.roc_auc_score(binary, rounded)
    )
    two = scores[:, :2]
    assert updated(metrics.AreaUnderCurve(), two, binary) == pytest.approx(
        oracle.roc_auc_score(binary, two[:, 1])
    )
    chances = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert updated(metrics.AreaUnderCurve(), chances, labels) == pytest.approx(
        oracle.roc_auc_score(labels, chances, multi_class="ovr"), rel=1e-6
    )
    false, true, _ = updated(metrics.ROC(4), chances, labels)
    assert len(false) == 4 and metrics.auc(false[0], true[0]) == pytest.approx(
        oracle.roc_auc_score(labels == 0, chances[:, 0])
    )
    points = np.array([0.0, 1.0, 0.5]), np.array([0.0, 1.0, 1.0])
    assert metrics.auc(*points, reorder=True) == metrics.auc([1.0, 0.5, 0.0], [1.0, 1.0, 0.0]) == 0.75


def test_images_and_ignored_labels():
    """Scores (N, C, H, W) with labels (N, H, W); perplexity (N, T, C) with padding."""
    random = np.random.default_rng(5)
    scores, labels = random.standard_normal((2, 3, 4, 5)), random.integers(0, 3, (2, 4, 5))
    assert metrics.Accuracy()(scores, labels) == (scores.argmax(1) == labels).mean()
    expected = oracle.recall_score(labels.ravel(), scores.argmax(1).ravel(), average=None)
    np.testing.assert_allclose(metrics.Recall()(scores, labels), expected)
    chances = random.dirichlet(np.ones(5), (2, 3))
    words = np.array([[1, 2, 0], [4, 0, 0]])
    expected = np.exp(-np.log([chances[0, 0, 1], chances[0, 1, 2], chances[1, 0, 4]]).mean())
    assert metrics.Perplexity(ignore_label=0)(chances, words) == pytest.approx(expected)
    for similarity in ("cosine", "dot"):
        rows = random.standard_normal((4, 3))
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True) if similarity == "cosine" else rows
        result = metrics.CosineSimilarity(similarity, "mean", zero_diagonal=False)(rows)
        np.testing.assert_allclose(result, (unit @ unit.T).mean(1))


# ------------------------------------------------------------------------------------------- inside native code


class Scores(nn.Cell):
    """Gives its input back: the metrics see the numbers of the dataset."""

    def construct(self, x):
        return x * 1.0


class Passive(Callback):
    """Listens to batches, so that metrics are updated one by one."""

    def on_eval_step_end(self, run_context):
        pass


def results(columns, made, **options):
    """The results natively, and batch by batch; 60 samples in batches of 13."""
    data = ds.NumpySlicesDataset(columns, shuffle=False).batch(13)
    model = Model(Scores(), metrics=made, **options)
    return model.eval(data), model.eval(data, Passive())


def watch(monkeypatch):
    from graphrt.train import evaluation

    runs = []
    original = evaluation.EvaluationSink.run
    monkeypatch.setattr(evaluation.EvaluationSink, "run", lambda *a: runs.append(1) or original(*a))
    return runs


@pytest.mark.parametrize("one_hot", [False, True], ids=["class numbers", "one-hot"])
def test_native_sums_of_classification(draw, monkeypatch, one_hot):
    runs = watch(monkeypatch)
    scores, labels = draw
    scores = np.round(scores, 1)  # ties
    labels = np.eye(4, dtype=np.float32)[labels] if one_hot else labels
    made = {
        name: metrics.get_metric_fn(name) for name in ("acc", "precision", "recall", "F1", "top1", "top5")
    }
    made |= {"top2": metrics.TopKCategoricalAccuracy(2)}
    if not one_hot:
        made |= {"matrix": metrics.ConfusionMatrix(4, "target")}
    native, updates = results((scores, labels), made)
    assert runs == [1]
    for name, value in updates.items():
        np.testing.assert_array_equal(native[name], value, err_msg=name)


def test_native_sums_of_other_metrics(draw, monkeypatch):
    runs = watch(monkeypatch)
    scores, labels = draw
    chances = (np.exp(scores) / np.exp(scores).sum(1, keepdims=True)).astype(np.float32)
    made = {"mae": "mae", "mse": "mse", "dice": metrics.Dice(), "loss": "loss"}
    native, updates = results((chances, scores), made, loss_fn=nn.MSELoss(reduction="none"))
    more = {"perplexity": metrics.Perplexity(), "padded": metrics.Perplexity(ignore_label=2)}
    more |= {"multilabel": metrics.Precision("multilabel")}
    second, second_updates = results((chances, labels), {k: more[k] for k in ("perplexity", "padded")})
    third, third_updates = results(
        ((chances > 0.3).astype(np.float32), np.eye(4)[labels] > 0), {"p": more["multilabel"]}
    )
    assert runs == [1, 1, 1]
    for one, other in ((native, updates), (second, second_updates), (third, third_updates)):
        for name, value in other.items():
            np.testing.assert_allclose(one[name], value, rtol=1e-5, err_msg=name)


def test_own_metrics_with_sums_and_without(draw, monkeypatch, engine):
    runs = watch(monkeypatch)

    class Mean(metrics.Metric):
        def clear(self):
            self.total, self.count = 0.0, 0

        def update(self, output, label):
            self.total, self.count = (
                self.total + output.asnumpy().sum(dtype=np.float64),
                self.count + label.size,
            )

        def eval(self):
            return self.total / self.count

        def sums(self, output, label):
            return output.sum(), label.size

        def take_sums(self, totals):
            self.total, self.count = totals

    class Cautious(Mean):
        def update(self, output, label):  # what `sums` says is no longer what this does
            super().update(output * 2.0, label)

    native, updates = results(draw, [Mean()])
    np.testing.assert_allclose(native["mean"], updates["mean"], rtol=1e-5)
    assert runs == [1]
    native, updates = results(draw, {"m": Mean(), "c": Cautious()})
    assert runs == [1] and native == updates and native["c"] == pytest.approx(2 * native["m"])
    assert results(draw, {"all": metrics.Accuracy(), "auc": metrics.AreaUnderCurve()})[0] and runs == [1]


def test_a_metric_as_the_tutorial_writes_it(draw):
    class MyMAE(metrics.Metric):
        def __init__(self):
            super().__init__()
            self.clear()

        def clear(self):
            self.abs_error_sum, self.samples_num = 0, 0

        @nn.rearrange_inputs
        def update(self, *inputs):
            y_pred, y = self._convert_data(inputs[0]), inputs[1].asnumpy()
            self.abs_error_sum += np.abs(y.reshape(y_pred.shape) - y_pred).sum()
            self.samples_num += y.shape[0]

        def eval(self):
            return self.abs_error_sum / self.samples_num

    x = draw[0]
    expected = np.abs(x - x[:, ::-1]).sum() / len(x)
    assert results((x, np.ascontiguousarray(x[:, ::-1])), [MyMAE()])[0]["mymae"] == pytest.approx(
        expected, rel=1e-5
    )
    swapped = MyMAE().set_indexes([2, 0])
    swapped.update(graphrt.Tensor(x), graphrt.Tensor(x * 0), graphrt.Tensor(x + 1))
    assert swapped.eval() == pytest.approx(4)


def test_evaluating_again_starts_anew_and_follows_the_weights(make_model, resident, points, monkeypatch):
    runs = watch(monkeypatch)
    model, data = make_model(metrics={"accuracy", "loss"}), resident()
    first = model.eval(data)
    assert model.eval(data) == first and len(runs) == 2
    model.train(3, data)
    after, again = model.eval(data), model.eval(data, Passive())
    assert after["accuracy"] == again["accuracy"] and after["loss"] == pytest.approx(again["loss"], rel=1e-5)
    assert after["loss"] != first["loss"]
    assert model.eval(resident().repeat(2))["accuracy"] == after["accuracy"]
    assert model.eval(data, dataset_sink_mode=False)["accuracy"] == after["accuracy"] and len(runs) == 4


def test_a_nan_loss_in_evaluation_is_a_result(make_model, points):
    x, y = points
    data = ds.NumpySlicesDataset((x * np.nan, y)).batch(6)
    assert np.isnan(make_model(metrics={"loss"}).eval(data)["loss"])


def test_eval_networks_and_indexes(draw):
    class Evaluation(nn.Cell):
        def construct(self, x, label):
            return label, x, x.mean()

    data = ds.NumpySlicesDataset(draw, shuffle=False).batch(13)
    expected = (draw[0].argmax(1) == draw[1]).mean()
    model = Model(Scores(), metrics={"acc", "loss"}, eval_network=Evaluation(), eval_indexes=[2, 1, 0])
    for callbacks in (None, Passive()):
        result = model.eval(data, callbacks)
        assert result["acc"] == pytest.approx(expected)
        means = [draw[0][k : k + 13].mean() for k in range(0, 60, 13)]
        assert result["loss"] == pytest.approx(np.mean(means), rel=1e-5)
    with pytest.raises(ArgumentError) as caught:
        Model(Scores(), metrics=[metrics.Accuracy().set_indexes([1, 3])], eval_network=Evaluation()).eval(
            data
        )
    assert str(caught.value) == (
        "Model.eval: Accuracy asks for output 3 of the evaluation\n"
        f"  at:       {caught.value.at}\n"
        "  expected: 0 to 2\n"
        "  given:    indexes=(1, 3)\n"
        "  fix:      choose others with metric.set_indexes([...]), or return more from eval_network"
    )


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: metrics.Precision("x"), ArgumentError, "Precision: eval_type"),
        (lambda: metrics.Fbeta(0), ArgumentError, "beta must be positive"),
        (lambda: metrics.Precision("multilabel")(X, Y), ShapeError, "must have one shape"),
        (lambda: metrics.Recall()(X, Y[:2]), ShapeError, "Recall: outputs and labels do not fit"),
        (lambda: metrics.Accuracy()(np.zeros((2, 3, 4)), np.zeros((2, 5))), ShapeError, "do not fit together"),
        (lambda: metrics.F1().eval(), DataError, "nothing to average"),
        (lambda: metrics.ConfusionMatrix(1), ArgumentError, "num_classes"),
        (lambda: metrics.ConfusionMatrix(2, "rows"), ArgumentError, "unknown normalize"),
        (lambda: metrics.ConfusionMatrix(2)(np.array([0, 2]), np.array([0, 1])), DataError, "outputs out of range"),
        (lambda: metrics.ConfusionMatrix(3)(X[:, 0], Y), ArgumentError, "do not fit together"),
        (lambda: metrics.ROC()(X[:, 0], Y * 0), DataError, "positive and other samples"),
        (lambda: metrics.ROC(3)(X, Y), ShapeError, "another number of classes"),
        (lambda: metrics.ROC()(X, X), ShapeError, "do not fit together"),
        (lambda: metrics.auc([0, 1, 0], [1, 1, 1]), ArgumentError, "reorder=True"),
        (lambda: metrics.auc([0], [1]), ArgumentError, "two arrays"),
        (lambda: metrics.Dice(-1), ArgumentError, "smooth"),
        (lambda: metrics.Dice()(X, Y), ShapeError, "different shapes"),
        (lambda: metrics.CosineSimilarity("l2"), ArgumentError, "unknown similarity"),
        (lambda: metrics.CosineSimilarity()(Y), ShapeError, "update takes rows"),
        (lambda: metrics.Perplexity(1.5), ArgumentError, "ignore_label"),
        (lambda: metrics.Perplexity()(X, X), ShapeError, "do not fit together"),
        (lambda: metrics.Perplexity(0)(X, Y * 0), DataError, "no label that counts"),
    ],
)  # fmt: skip
def test_wrong_use_is_explained(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_threshold_makes_classes_of_probabilities():
    probabilities, labels = np.float32([0.2, 0.5, 0.9]), np.array([0, 0, 1])
    assert metrics.ConfusionMatrix(2)(probabilities, labels).tolist() == [[1, 1], [0, 1]]
    assert metrics.ConfusionMatrix(2, threshold=0.6)(probabilities, labels).tolist() == [[2, 0], [0, 1]]
