"""A small GPT learns to write, character by character: the CPU run of nanoGPT's README, in native sinks.

    python examples/nanogpt_char.py --data tinyshakespeare.txt    # any text file; the run of the README
    python examples/nanogpt_char.py                               # the help pages that come with Python

4 layers, 4 heads, 128 wide, blocks of 64 characters, batch 12, AdamW, 2000 steps. The dataset is the list of places
where a block can start. The compiled step picks places from it in random order and cuts the blocks out of the text.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np

import graphrt
from graphrt import Model, Parameter, Tensor, nn, ops
from graphrt.common.initializer import Normal
from graphrt.dataset import NumpySlicesDataset
from graphrt.train.callback import LossMonitor

LAYERS, HEADS, WIDTH, BLOCK = 4, 4, 128, 64
BATCH, STEPS, WARM_UP = 12, 2000, 100
RATE, LAST_RATE = 2e-3, 1e-4


def dense(inputs, outputs, sigma=0.02):
    return nn.Dense(inputs, outputs, weight_init=Normal(sigma), has_bias=False)


def layer_norm():
    return nn.LayerNorm(WIDTH, epsilon=1e-5, has_bias=False)


class Layer(nn.Cell):
    """Causal self-attention, then two dense layers, each added to what came in: (N, T, WIDTH) to the same."""

    def __init__(self):
        super().__init__()
        into_residual = 0.02 / math.sqrt(2 * LAYERS)
        self.norm1, self.norm2 = layer_norm(), layer_norm()
        self.qkv, self.projection = dense(WIDTH, 3 * WIDTH), dense(WIDTH, WIDTH, into_residual)
        self.widen, self.narrow = dense(WIDTH, 4 * WIDTH), dense(4 * WIDTH, WIDTH, into_residual)
        self.gelu = nn.GELU(approximate=False)

    def construct(self, x):
        count, length, width = x.shape
        parts = self.qkv(self.norm1(x)).reshape(count, length, 3, HEADS, width // HEADS)
        query, key, value = parts.transpose(2, 0, 3, 1, 4)
        seen = ops.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.projection(seen.transpose(0, 2, 1, 3).reshape(count, length, width))
        return x + self.narrow(self.gelu(self.widen(self.norm2(x))))


@graphrt.compile
class GPT(nn.Cell):
    """Characters int32 (N, T <= BLOCK) to logits (N, T, vocabulary). One table embeds and predicts."""

    def __init__(self, vocabulary):
        super().__init__()
        self.characters = nn.Embedding(vocabulary, WIDTH, embedding_table=Normal(0.02))
        self.places = nn.Embedding(BLOCK, WIDTH, embedding_table=Normal(0.02))
        self.layers = nn.SequentialCell([Layer() for _ in range(LAYERS)])
        self.norm = layer_norm()

    def construct(self, characters):
        x = self.characters(characters) + self.places.embedding_table[: characters.shape[1]]
        return ops.matmul(self.norm(self.layers(x)), self.characters.embedding_table.T)


class TextLoss(nn.Cell):
    """Where blocks start, int32 (N,), to the mean cross entropy of every character given those before it in its block.

    The text is a Parameter, so compiled code reads it where it lies instead of containing it.
    """

    def __init__(self, network, text):
        super().__init__()
        self.network = network
        self.text = Parameter(text, requires_grad=False)

    def construct(self, start):
        window = self.text[start.reshape(-1, 1) + np.arange(BLOCK + 1, dtype=np.int32)]
        logits = self.network(window[:, :-1])
        return ops.cross_entropy(logits.reshape(-1, logits.shape[-1]), window[:, 1:].reshape(-1))


class TrainStep(nn.Cell):
    """A whole training step: loss, gradients, together no longer than 1, and the update."""

    def __init__(self, loss, optimizer):
        super().__init__()
        self.loss, self.optimizer = loss, optimizer
        self.gradient = graphrt.value_and_grad(loss, None, optimizer.parameters)

    def construct(self, start):
        loss, gradients = self.gradient(start)
        self.optimizer(ops.clip_by_global_norm(gradients, 1.0))
        return loss


class WarmUpCosine(nn.LearningRateSchedule):
    """Linear from 0 to RATE in WARM_UP steps, then half a cosine down to LAST_RATE at the last step."""

    def __init__(self, steps):
        super().__init__()
        self.warm_up = min(WARM_UP, steps // 2)
        self.cosine = nn.CosineDecayLR(LAST_RATE, RATE, max(1, steps - self.warm_up))

    def construct(self, global_step):
        rising = (global_step.astype("float32") + 1.0) * (RATE / (self.warm_up + 1))
        falling = self.cosine(ops.maximum(global_step - self.warm_up, 0))
        return ops.where(global_step < self.warm_up, rising, falling)


def help_pages():
    """English that is on every machine: the language reference that Python's `help()` shows."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def held_out_loss(loss, length):
    """The mean loss over a text of so many characters, block after block (an incomplete batch at its end is left out)."""
    starts = np.arange(0, length - BLOCK, BLOCK, dtype=np.int32)
    rows = min(64, len(starts))
    compiled = graphrt.compile(loss)
    batches = starts[: len(starts) // rows * rows].reshape(-1, rows)
    return float(np.mean([compiled(Tensor(batch)).asnumpy() for batch in batches]))


def sample(network, alphabet, count, random, temperature=0.8, top_k=200):
    """`count` characters from the network, each drawn given the (up to BLOCK) characters before it."""
    known = [alphabet.index("\n") if "\n" in alphabet else 0]
    for _ in range(count):
        recent = known[-BLOCK:]
        # what is right of the last character cannot be seen from it: one compiled shape serves all lengths
        characters = np.zeros((1, BLOCK), np.int32)
        characters[0, : len(recent)] = recent
        logits = network(Tensor(characters)).asnumpy()[0, len(recent) - 1].astype(np.float64) / temperature
        if top_k < len(logits):
            logits[logits < np.partition(logits, -top_k)[-top_k]] = -np.inf
        chances = np.exp(logits - logits.max())
        known.append(int(random.choice(len(chances), p=chances / chances.sum())))
    return "".join(alphabet[k] for k in known[1:])


def main():
    parser = argparse.ArgumentParser(description="Train a character-level GPT in native sinks.")
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="a text file (default: Python's help pages)"
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--sink-size", type=int, default=250, help="steps per native call")
    parser.add_argument("--characters", type=int, default=500, help="how much text to write at the end")
    parser.add_argument("--threads", type=int, help="default: the CPUs this process may use")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.perf_counter()

    graphrt.set_context(threads=options.threads)
    graphrt.set_seed(options.seed)
    text = options.data.read_text(encoding="utf-8") if options.data else help_pages()
    alphabet = "".join(sorted(set(text)))
    codes = np.array([alphabet.index(character) for character in text], np.int32)
    training, held_out = np.split(codes, [len(codes) * 9 // 10])
    if len(held_out) <= BLOCK:
        parser.error(f"the text is too short: {len(text)} characters, at least {20 * BLOCK} are needed")

    sinks = math.ceil(options.steps / options.sink_size)
    network = GPT(len(alphabet))
    loss = TextLoss(network, training)
    matrices = [p for p in network.trainable_params() if p.ndim >= 2]
    vectors = [p for p in network.trainable_params() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = nn.AdamW(groups, WarmUpCosine(sinks * options.sink_size), beta1=0.9, beta2=0.99)
    # The data: every place where a block can start. In sinks of a given size an "epoch" is a sink.
    starts = np.arange(len(training) - BLOCK, dtype=np.int32)
    data = NumpySlicesDataset(starts, "start", shuffle=True).batch(BATCH, drop_remainder=True)
    parameters = sum(p.size for p in network.trainable_params())
    print(f"{len(text)} characters, {len(alphabet)} different ones; {parameters / 1e6:.2f} M parameters")

    start = time.perf_counter()
    model = Model(TrainStep(loss, optimizer))
    model.train(sinks, data, LossMonitor(), dataset_sink_mode=True, sink_size=options.sink_size)
    seconds = time.perf_counter() - start
    print(f"{sinks * options.sink_size} steps in {seconds:.1f} s, tracing and compiling included")
    network.set_train(False)
    print(f"validation loss: {held_out_loss(TextLoss(network, held_out), len(held_out)):.4f}")
    print(f"after {time.perf_counter() - started:.1f} s; it writes:\n")
    print(sample(network, alphabet, options.characters, np.random.default_rng(options.seed)))


if __name__ == "__main__":
    main()
