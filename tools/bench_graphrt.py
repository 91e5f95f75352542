"""One benchmark workload on graphrt: the counterpart of the peers' scripts, in a process of its own.

In: a workload name and the peers' `common.py` (folder in GRAPHRT_PEERS), which supplies data, initial weights,
batch size and the report format. Out: one JSON line. Everything goes through the public API: `Model.train` with a
sink of `--steps` steps per window, so a window includes whatever a user of the library would wait for.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(os.environ["GRAPHRT_PEERS"]).resolve()))

import common  # the peers' workloads: found through GRAPHRT_PEERS
from bench_networks import LOSSES, NETWORKS, OPTIMIZERS

import graphrt
from graphrt import Model, dataset, nn
from graphrt.train.callback import Callback


class Windows(Callback):
    """Notes when each epoch (one window of the benchmark) ends, and its last loss."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []
        self.losses: list[float] = []

    def epoch_end(self, run_context: Any) -> None:
        self.ends.append(time.perf_counter())
        self.losses.append(float(run_context.original_args().losses[-1]))


def main() -> None:
    arguments = common.args()
    graphrt.set_context(threads=common.THREADS)
    if arguments.mode == "winograd":
        graphrt.set_context(convolution="winograd")
    level = "O1" if arguments.mode == "bf16" else "O0"
    (inputs, labels), weights, batch = common.WORK[arguments.workload]()
    network = NETWORKS[arguments.workload](weights)
    optimizer = OPTIMIZERS[arguments.workload](network.trainable_params())
    data = dataset.NumpySlicesDataset((inputs, labels), ["input", "label"], shuffle=False)
    data = data.batch(batch, drop_remainder=True)
    windows = Windows()
    start = time.perf_counter()
    # The cursor persists over epochs, so the windows see the batches one after the other, as the peers' do.
    loss = LOSSES.get(arguments.workload, nn.CrossEntropyLoss)()
    Model(network, loss, optimizer, amp_level=level).train(
        arguments.windows + 1, data, callbacks=[windows], dataset_sink_mode=True, sink_size=arguments.steps
    )
    times = [end - begin for begin, end in zip(windows.ends, windows.ends[1:])]
    common.report(
        f"graphrt {graphrt.__version__}", arguments, windows.ends[0] - start, times, windows.losses, batch
    )


if __name__ == "__main__":
    main()
