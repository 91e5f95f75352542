"""A small training program with everything that has state, and what happens to it when its process is killed.

Imported by the checkpoint tests; as a script, `resumable.py kills DIRECTORY SEED` and `resumable.py terminate
DIRECTORY`, it kills processes of its own and prints what was left as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np

import graphrt
from graphrt import dataset as ds
from graphrt import nn
from graphrt.train import Callback, CheckpointConfig, Model, ModelCheckpoint, durable

EPOCHS, STEPS = 4, 5  # a pass has 22 samples in batches of 5, the last one of 2


class Net(nn.Cell):
    """Convolution, batch norm and dropout on 6x6 images, 3 classes."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, pad_mode="valid")
        self.norm = nn.BatchNorm2d(2)
        self.flatten = nn.Flatten()
        self.drop = nn.Dropout(p=0.3)
        self.out = nn.Dense(2 * 4 * 4, 3)

    def construct(self, x):
        return self.out(self.drop(self.flatten(self.norm(self.conv(x)))))


def make(seed=1, streamed=False):
    """(model, dataset): momentum with a schedule; shuffled images, cropped at random; in memory or from Python."""
    graphrt.set_seed(seed)
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (22, 8, 8, 1)).astype(np.uint8)
    labels = draw.integers(0, 3, 22).astype(np.int32)
    if streamed:
        data = ds.GeneratorDataset(lambda: zip(images, labels), ["image", "label"]).shuffle(7)
    else:
        data = ds.NumpySlicesDataset((images, labels), ["image", "label"])
    changes = [ds.vision.RandomCrop(6), ds.vision.Rescale(1 / 255, 0.0), ds.vision.HWC2CHW()]
    data = data.map(changes, "image").batch(5)
    net = Net()
    rate = nn.ExponentialDecayLR(0.1, 0.9, 3)
    optimizer = nn.Momentum(net.trainable_params(), rate, 0.9)
    return Model(net, nn.CrossEntropyLoss(), optimizer, metrics={"loss"}), data


def state(model):
    """Every parameter of network and optimizer by name."""
    cells = (model.train_network, model._parts.optimizer)
    return {p.name: p.asnumpy().copy() for cell in cells for p in cell.get_parameters()}


class StopAt(Callback):
    """Raises Stopped when so many steps are done."""

    def __init__(self, step):
        self.step = step

    def step_end(self, run_context):
        if run_context.original_args().cur_step_num == self.step:
            raise Stopped


class Stopped(Exception):
    pass


class _Watched:
    """`os` that writes a byte to a pipe before every call."""

    def __init__(self, pipe):
        self._pipe = pipe

    def __getattr__(self, name):
        value = getattr(os, name)
        if not callable(value) or name in ("getpid", "fspath"):
            return value

        def call(*args, **kwargs):
            os.write(self._pipe, b".")
            return value(*args, **kwargs)

        return call


def _in_child(function):
    """Run `function(pipe)` in a forked process; (process id, the pipe's end to read from)."""
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, reading
    status = 1
    try:
        os.close(reading)
        function(writing)
        status = 0
    except SystemExit as error:
        status = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _train(directory, pipe):
    durable.os = _Watched(pipe)
    model, data = make()
    config = CheckpointConfig(keep_checkpoint_max=3)
    saving = ModelCheckpoint(directory=directory, config=config)
    model.train(8, data, saving, dataset_sink_mode=False, progress=False, resume=directory)


def kills(directory, seed, count=25):
    """Kill the training `count` times after a random number of system calls of saving, and let it end then."""
    draw = random.Random(seed)
    for module in (
        "compiler",
        "codegen.stored_step",
        "runtime.sink",
        "passes.pipeline",
        "train.training_state",
    ):
        importlib.import_module(f"graphrt.{module}")  # once, not in every child
    for _ in range(count):
        process, pipe = _in_child(lambda writing: _train(directory, writing))
        calls = draw.randrange(40)
        while calls > 0 and (found := os.read(pipe, calls)):
            calls -= len(found)
        os.kill(process, signal.SIGKILL)
        os.close(pipe)
        os.waitpid(process, 0)
    process, pipe = _in_child(lambda writing: _train(directory, writing))
    while os.read(pipe, 1 << 16):
        pass
    os.close(pipe)
    return {"status": os.waitpid(process, 0)[1], "files": sorted(os.listdir(directory))}


def _long_sink(directory, pipe):
    class Tell(Callback):
        def step_begin(self, run_context):
            os.write(pipe, b".")

    model, data = make()
    saving = ModelCheckpoint(directory=directory, config=CheckpointConfig(exception_save=True))
    model.train(1, data, [Tell(), saving], sink_size=1 << 22, progress=False)


def terminate(directory):
    """SIGTERM inside a sink of some minutes, in a program that a shell has started in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process, pipe = _in_child(lambda writing: _long_sink(directory, writing))
    os.read(pipe, 1)
    time.sleep(0.1)
    os.kill(process, signal.SIGTERM)
    status = os.waitpid(process, 0)[1]
    return {"status": os.waitstatus_to_exitcode(status), "files": sorted(os.listdir(directory))}


if __name__ == "__main__":
    sys.stdout.flush()
    command, directory, *rest = sys.argv[1:]
    Path(directory).mkdir(parents=True, exist_ok=True)
    answer = kills(directory, int(rest[0])) if command == "kills" else terminate(directory)
    print(json.dumps(answer))
