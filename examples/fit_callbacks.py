"""Model.fit with ready-made callbacks, a callback and a metric of one's own, and a run that goes on where it stopped.

python examples/fit_callbacks.py
python examples/fit_callbacks.py --checkpoints run    # start it again: training goes on from the newest file there
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from handwriting import add_data_option, handwriting, prepared

import graphrt
from graphrt import CheckpointConfig, Model, ModelCheckpoint, nn
from graphrt.train import Callback, LossMonitor, Metric


class StopAt(Callback):
    """Ends training when a metric of the validation data is good enough."""

    def __init__(self, metric, goal):
        self.metric, self.goal = metric, goal

    def on_train_epoch_end(self, run_context):
        where = run_context.original_args()
        if where.eval_results.get(self.metric, 0.0) >= self.goal:
            print(f"{self.metric} reached {self.goal} after {where.cur_step_num} steps")
            run_context.request_stop()


class WorstClass(Metric):
    """The accuracy on the class that is recognised worst: with only these methods it is updated batch by batch."""

    def clear(self):
        self.right, self.seen = np.zeros(10), np.zeros(10)

    def update(self, logits, labels):
        classes, labels = logits.asnumpy().argmax(1), labels.asnumpy()
        self.right += np.bincount(labels[classes == labels], minlength=10)
        self.seen += np.bincount(labels, minlength=10)

    def eval(self):
        return float(np.min(self.right[self.seen > 0] / self.seen[self.seen > 0]))


def main():
    parser = argparse.ArgumentParser(description="Train with callbacks and metrics.")
    add_data_option(parser)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--goal", type=float, default=0.9, help="end when every class is recognised so well")
    parser.add_argument(
        "--checkpoints", type=Path, metavar="DIR", help="default: a folder removed at the end"
    )
    options = parser.parse_args()

    graphrt.set_seed(0)
    training, testing = (prepared(data, batch=64) for data in handwriting(options.data))
    network = nn.SequentialCell(
        nn.Flatten(), nn.Dense(784, 128), nn.ReLU(), nn.Dropout(p=0.2), nn.Dense(128, 10)
    )
    optimizer = nn.Adam(network.trainable_params(), 1e-3)
    metrics = {"accuracy": nn.Accuracy(), "worst class": WorstClass()}
    model = Model(network, nn.CrossEntropyLoss(), optimizer, metrics)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.checkpoints or Path(temporary)
        steps = training.get_dataset_size()
        saving = ModelCheckpoint("digits", folder, CheckpointConfig(steps, keep_checkpoint_max=2))
        history = model.fit(
            options.epochs, training, testing, resume=folder,
            callbacks=[LossMonitor(), StopAt("worst class", options.goal), saving],
        )  # fmt: skip
        print(
            f"{len(history.losses)} steps; kept: {', '.join(sorted(path.name for path in folder.glob('*.safetensors')))}"
        )


if __name__ == "__main__":
    main()
