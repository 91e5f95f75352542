"""What ModelCheckpoint leaves on disk: names, how many, and what a full disk or an I/O error does to it."""

import errno
import itertools
import json
import os
import time

import numpy as np
import pytest

import graphrt
from graphrt import nn
from graphrt.errors import ArgumentError, CheckpointError
from graphrt.train import Callback, CheckpointConfig, ModelCheckpoint, checkpoint_store, durable, weights_file

CONTENT = weights_file.encode({"a": np.arange(1000, dtype=np.float32)})
OTHER = weights_file.encode({"a": np.arange(1000, dtype=np.float32) + 1})


class Failing:
    """`os` whose n-th system call fails."""

    def __init__(self, number, error):
        self.left, self.error, self.calls = number, error, []

    def __getattr__(self, name):
        value = getattr(os, name)
        if name not in ("mkdir", "open", "write", "fsync", "replace", "close"):
            return value

        def call(*args, **kwargs):
            self.calls.append(name)
            self.left -= 1
            if self.left < 0 and name != "close":  # from here on nothing works any more
                raise OSError(self.error, os.strerror(self.error))
            return value(*args, **kwargs)

        return call


class Recording:
    """`os` that takes down what happens to which path."""

    def __init__(self):
        self.events, self._paths = [], {}

    def __getattr__(self, name):
        value = getattr(os, name)
        if name not in ("open", "write", "fsync", "replace"):
            return value

        def call(first, *args, **kwargs):
            result = value(first, *args, **kwargs)
            if name == "open":
                self._paths[result] = str(first)
            elif name == "replace":
                self.events.append((name, str(first)))
            else:
                self.events.append((name, self._paths[first]))
            return result

        return call


class ShortWrites:
    """`os` that writes a few bytes at a time, as it may."""

    def __getattr__(self, name):
        if name == "write":
            return lambda descriptor, data: os.write(descriptor, data[:100])
        return getattr(os, name)


def whole(path):
    return checkpoint_store.load(checkpoint_store.read_manifest(path.with_suffix(".json"))).arrays["a"][0]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["full disk", "I/O error"])
def test_an_error_at_every_call_leaves_the_older_checkpoint(tmp_path, monkeypatch, error):
    seen = set()
    for number in itertools.count():
        folder = tmp_path / str(number)
        folder.mkdir()
        old, new = folder / "CKP-1_5.safetensors", folder / "CKP-2_5.safetensors"
        checkpoint_store.save(old, CONTENT, epoch=1, step=5, number=1)
        failing = Failing(number, error)
        with monkeypatch.context() as patch:
            patch.setattr(durable, "os", failing)
            try:
                checkpoint_store.save(new, OTHER, epoch=2, step=5, number=2)
                break
            except CheckpointError as problem:
                assert os.strerror(error) in str(problem) and str(new) in str(problem)
        seen.add(failing.calls[number])
        assert whole(old) == 0
        found = checkpoint_store.load_for_resume(folder) if new.with_suffix(".json").exists() else None
        assert found is None or found[1].arrays["a"][0] == 1  # it failed after everything was in place
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    assert seen >= {"mkdir", "open", "write", "fsync", "replace"} and number > 10
    assert whole(new) == 1


def test_an_error_at_every_call_leaves_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "net.ckpt"
    for number in itertools.count():
        graphrt.save_checkpoint({"a": np.zeros(3)}, path)
        with monkeypatch.context() as patch:
            patch.setattr(durable, "os", Failing(number, errno.ENOSPC))
            try:
                graphrt.save_checkpoint({"a": np.ones(3)}, path)
                break
            except CheckpointError as problem:
                assert "No space left" in str(problem)
        assert graphrt.load_checkpoint(path)["a"].asnumpy()[0] in (0, 1)
        assert [entry.name for entry in tmp_path.iterdir()] == ["net.ckpt"]
    assert graphrt.load_checkpoint(path)["a"].asnumpy()[0] == 1


def test_contents_are_on_disk_before_their_names_and_names_before_it_returns(tmp_path, monkeypatch):
    """What a power failure leaves: a file that has its name has its content, and the last name to come is the seal."""
    recording = Recording()
    monkeypatch.setattr(durable, "os", recording)
    checkpoint_store.save(tmp_path / "CKP-1_5.safetensors", CONTENT, epoch=1, step=5, number=1)
    events = recording.events
    moved = [path for name, path in events if name == "replace"]
    assert [os.path.basename(path) for path in moved] == ["CKP-1_5.safetensors", "CKP-1_5.json"]
    for path in moved:
        history = [name for name, where in events if where == path]
        assert history == ["write", "fsync", "replace"]
    assert max(events.index(("fsync", path)) for path in moved) < events.index(("replace", moved[0]))
    assert events[-1] == ("fsync", str(tmp_path))


def test_the_system_may_write_less_than_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(durable, "os", ShortWrites())
    path = tmp_path / "CKP-1_1.safetensors"
    checkpoint_store.save(path, CONTENT, epoch=1, step=1, number=1)
    assert path.read_bytes() == CONTENT


def test_training_stops_with_the_reason_and_the_model_stays_usable(
    tmp_path, monkeypatch, make_model, resident
):
    model = make_model()
    model.train(1, resident(), ModelCheckpoint(directory=tmp_path))
    for config in (None, CheckpointConfig(async_save=True)):
        with monkeypatch.context() as patch:
            patch.setattr(durable, "os", Failing(2, errno.ENOSPC))
            with pytest.raises(CheckpointError, match="No space left"):
                model.train(1, resident(), ModelCheckpoint(directory=tmp_path, config=config))
    assert len(model.train(1, resident(), resume=tmp_path).losses) == 4


@pytest.mark.parametrize("name", ["CKP-2_5.safetensors", "CKP-2_5.json"])
def test_every_kind_of_damage_is_noticed(tmp_path, name):
    """Cut at any length, any bit flipped, emptied, replaced by something else: the older one is taken instead."""
    for epoch, content in ((1, CONTENT), (2, OTHER)):
        path = tmp_path / f"CKP-{epoch}_5.safetensors"
        checkpoint_store.save(path, content, epoch=epoch, step=5, number=epoch)
    damaged = tmp_path / name
    good = damaged.read_bytes()
    draw = np.random.default_rng(0)
    places = draw.integers(0, len(good), 30)
    flipped = [good[:k] + bytes([good[k] ^ (1 << int(draw.integers(8)))]) + good[k + 1 :] for k in places]
    others = [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"1",
        b"[" * 10**5,
        b"\xff" * 99,
        b" " * (1 << 17),
        good + b"\0",
        CONTENT,
    ]
    for content in (*flipped, *(good[:k] for k in places), *others):
        damaged.write_bytes(content)
        with pytest.warns(RuntimeWarning, match=r"checkpoints skipped: CKP-2_5\.(json|safetensors): .+"):
            found = checkpoint_store.load_for_resume(tmp_path)
        assert found[0].epoch == 1
    damaged.write_bytes(good)
    assert checkpoint_store.load_for_resume(tmp_path)[0].epoch == 2


def test_a_manifest_names_no_file_but_its_own(tmp_path):
    path = tmp_path / "CKP-1_5.safetensors"
    manifest = checkpoint_store.save(path, CONTENT, epoch=1, step=5, number=1)
    for other in ("../x.safetensors", "/etc/passwd", "CKP-1_6.safetensors", 3, None):
        facts = json.loads(manifest.seal.read_text())
        del facts["seal"]
        facts["file"] = other
        manifest.seal.write_text(json.dumps(facts | {"seal": checkpoint_store._digest(facts)}))
        with pytest.raises(CheckpointError, match="not a whole checkpoint"):
            checkpoint_store.read_manifest(manifest.seal)


# ------------------------------------------------------------------------------------------------ names and numbers


def names(folder):
    assert not [path for path in folder.iterdir() if path.suffix not in (".json", ".safetensors")]
    sealed, files = ({path.stem for path in folder.glob(f"*{end}")} for end in (".json", ".safetensors"))
    assert sealed == files
    return sorted(files)


def test_one_file_per_sink_and_the_newest_five(tmp_path, make_model, resident):
    saving = ModelCheckpoint("net", str(tmp_path / "a" / "b"))
    assert saving.latest_ckpt_file_name == ""
    make_model().train(7, resident(), saving)
    assert names(tmp_path / "a" / "b") == [f"net-{epoch}_4" for epoch in range(3, 8)]
    assert saving.latest_ckpt_file_name == str(tmp_path / "a" / "b" / "net-7_4.safetensors")


@pytest.mark.parametrize(
    "settings, expected",
    [
        (dict(save_checkpoint_steps=3), ["1_3", "2_2", "3_1", "3_4"]),
        (dict(save_checkpoint_steps=5), ["2_1", "3_2", "3_4"]),
        (dict(save_checkpoint_steps=100), ["3_4"]),
        (dict(save_checkpoint_steps=1, keep_checkpoint_max=2), ["3_3", "3_4"]),
        (dict(save_checkpoint_steps=0, save_checkpoint_seconds=3600), ["3_4"]),
        (dict(keep_checkpoint_max=0), [f"{e}_{s}" for e in (1, 2, 3) for s in (1, 2, 3, 4)]),
        (dict(keep_checkpoint_max=0, keep_checkpoint_per_n_minutes=10), ["1_1", "3_4"]),
        (dict(async_save=True, save_checkpoint_steps=3), ["1_3", "2_2", "3_1", "3_4"]),
    ],
)
def test_when_and_how_many(tmp_path, make_model, resident, settings, expected):
    saving = ModelCheckpoint(directory=tmp_path, config=CheckpointConfig(**settings))
    make_model().train(3, resident(), saving, dataset_sink_mode=False)
    assert names(tmp_path) == [f"CKP-{name}" for name in expected]


def test_seconds_between_files(tmp_path, make_model, resident, monkeypatch):
    """By a clock that goes on by one second per look."""
    from graphrt.train import checkpoint_callback

    clock = itertools.count()
    monkeypatch.setattr(checkpoint_callback, "time", type("Clock", (), {"monotonic": lambda: next(clock)}))
    config = CheckpointConfig(save_checkpoint_steps=0, save_checkpoint_seconds=3)
    make_model().train(
        3, resident(), ModelCheckpoint(directory=tmp_path, config=config), dataset_sink_mode=False
    )
    assert len(names(tmp_path)) == 4  # 12 steps


def test_a_new_run_leaves_the_files_of_an_older_one_alone(tmp_path, make_model, resident):
    for _ in range(3):
        make_model().train(1, resident(), ModelCheckpoint(directory=tmp_path))
    assert names(tmp_path) == ["CKP-1_4", "CKP_1-1_4", "CKP_2-1_4"]
    make_model().train(2, resident(), ModelCheckpoint(directory=tmp_path), resume=tmp_path)
    assert names(tmp_path) == ["CKP-1_4", "CKP_1-1_4", "CKP_2-1_4", "CKP_2-2_4"]
    assert checkpoint_store.load_for_resume(tmp_path)[0].path.name == "CKP_2-2_4.safetensors"


def test_leftovers_of_killed_processes_are_cleared(tmp_path, make_model, resident):
    model = make_model()
    model.train(2, resident(), ModelCheckpoint(directory=tmp_path))
    (tmp_path / "CKP-1_4.json").unlink()  # killed between file and seal
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.waitpid(dead, 0)
    for process in (dead, os.getpid()):
        left = tmp_path / f".CKP-9_9.safetensors.{process}-0123abcd.partial"
        left.mkdir()
        (left / "CKP-9_9.safetensors").write_bytes(b"half of it")
    graphrt.save_checkpoint({"a": np.ones(1)}, tmp_path / "CKP-7_7")  # the user's own
    with pytest.warns(RuntimeWarning, match="saving was not finished"):
        model.train(3, resident(), ModelCheckpoint(directory=tmp_path), resume=tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [
        f".CKP-9_9.safetensors.{os.getpid()}-0123abcd.partial", "CKP-2_4.json", "CKP-2_4.safetensors", "CKP-3_4.json",
        "CKP-3_4.safetensors", "CKP-7_7.safetensors",
    ]  # fmt: skip


def test_checkpoints_are_files_of_weights_too(tmp_path, make_model, resident):
    model = make_model()
    config = CheckpointConfig(append_info=["epoch_num", "step_num", {"lr": 0.1, "table": np.arange(3)}])
    model.train(2, resident(), ModelCheckpoint(directory=tmp_path, config=config))
    loaded = graphrt.load_checkpoint(tmp_path / "CKP-2_4.safetensors")
    assert (
        loaded["epoch_num"].asnumpy() == 2
        and loaded["step_num"].asnumpy() == 8
        and loaded["table"].shape == (3,)
    )
    assert not any(name.startswith("graphrt.") for name in loaded)
    other = make_model(1)
    assert graphrt.load_param_into_net(other.train_network, loaded)[0] == []
    assert graphrt.load_param_into_net(other._parts.optimizer, loaded)[0] == []
    for one, two in zip(other.train_network.get_parameters(), model.train_network.get_parameters()):
        assert np.array_equal(one.asnumpy(), two.asnumpy())
    assert len(make_model().train(3, resident(), resume=tmp_path).losses) == 12


def test_another_network_is_saved_where_asked(tmp_path, make_model, resident):
    model = make_model()
    config = CheckpointConfig(saved_network=model.train_network.out)
    model.train(1, resident(), ModelCheckpoint(directory=tmp_path, config=config))
    assert set(graphrt.load_checkpoint(tmp_path / "CKP-1_4")) == {"out.weight", "out.bias"}


def test_the_checkpoint_is_saved_after_the_other_callbacks(tmp_path, make_model, resident):
    class Scale(Callback):
        def step_end(self, run_context):
            weight = run_context.original_args().train_network.out.bias
            weight.set_data(np.full(weight.shape, 7, np.float32))

    make_model().train(1, resident(), [ModelCheckpoint(directory=tmp_path), Scale()])
    assert (graphrt.load_checkpoint(tmp_path / "CKP-1_4")["out.bias"].asnumpy() == 7).all()


def test_async_saving_writes_what_was_there_when_it_was_asked(tmp_path, make_model, resident, monkeypatch):
    """Training goes on while the first file is being written."""
    save = checkpoint_store.save

    def slow(*args, **kwargs):
        time.sleep(0.1)
        return save(*args, **kwargs)

    make_model().train(3, resident(), ModelCheckpoint(directory=tmp_path / "a"), dataset_sink_mode=False)
    monkeypatch.setattr(checkpoint_store, "save", slow)
    saving = ModelCheckpoint(directory=tmp_path / "b", config=CheckpointConfig(async_save=True))
    make_model().train(3, resident(), saving, dataset_sink_mode=False)
    assert names(tmp_path / "a") == names(tmp_path / "b")
    for name in names(tmp_path / "a"):
        one, two = (graphrt.load_checkpoint(tmp_path / folder / name) for folder in "ab")
        assert all(np.array_equal(one[key].asnumpy(), two[key].asnumpy()) for key in one)


def test_unusable_settings(tmp_path):
    for settings, text in [
        (dict(save_checkpoint_steps=-1), "save_checkpoint_steps must be an int >= 0"),
        (dict(keep_checkpoint_max=1.5), "keep_checkpoint_max must be an int >= 0"),
        (dict(save_checkpoint_steps=0), "nothing says when to save"),
        (dict(enc_key=b"x"), "not encrypted"),
        (dict(saved_network=3), "saved_network must be a Cell"),
        (dict(append_info=["loss"]), r"append_info has an unknown entry(.|\n)*given: +'loss'"),
    ]:
        with pytest.raises(ArgumentError, match=text):
            CheckpointConfig(**settings)
    for prefix in ("", "a/b", ".a", 3):
        with pytest.raises(ArgumentError, match="prefix must begin file names"):
            ModelCheckpoint(prefix)
    with pytest.raises(ArgumentError, match="config must be a CheckpointConfig"):
        ModelCheckpoint(config={"save_checkpoint_steps": 1})
    (tmp_path / "file").write_text("")
    net = nn.Dense(2, 1)
    model = graphrt.Model(net, nn.MSELoss(), nn.SGD(net.trainable_params()))
    x = np.ones((4, 2), np.float32)
    data = graphrt.dataset.NumpySlicesDataset((x, x[:, :1])).batch(2)
    with pytest.raises(CheckpointError, match="the directory cannot be made"):
        model.train(1, data, ModelCheckpoint(directory=tmp_path / "file" / "x"))
