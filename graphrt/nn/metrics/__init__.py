"""Metrics: numbers that judge a network's outputs, collected batch by batch.

In: outputs and labels as arrays or Tensors. Out: one result per `eval()`. All sums are float64. Metrics that are sums
over samples also say how to compute them inside native code (`Metric.sums`); see `train/eval_sink.py`.
"""

from .accuracy import Accuracy, Top1CategoricalAccuracy, Top5CategoricalAccuracy, TopKCategoricalAccuracy
from .averages import MAE, MSE, Loss
from .base import Metric, rearrange_inputs
from .by_name import as_metrics, get_metric_fn, names
from .confusion import F1, ConfusionMatrix, Fbeta, Precision, Recall
from .ranking import ROC, AreaUnderCurve, auc
from .similarity import CosineSimilarity, Dice, Perplexity

__all__ = [
    "F1", "MAE", "MSE", "ROC", "Accuracy", "AreaUnderCurve", "ConfusionMatrix", "CosineSimilarity", "Dice", "Fbeta",
    "Loss", "Metric", "Perplexity", "Precision", "Recall", "Top1CategoricalAccuracy", "Top5CategoricalAccuracy",
    "TopKCategoricalAccuracy", "as_metrics", "auc", "get_metric_fn", "names",
    "rearrange_inputs",
]  # fmt: skip
