"""Worker threads and the limits of the process."""

import gc
import signal
import threading
import weakref

import numpy as np
import pytest

from graphrt import dtypes
from graphrt.ir import TensorType
from graphrt.runtime import cgroup, memory, workers


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


V2 = {
    "proc/self/cgroup": "0::/box/inner",
    "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate",
}
V1 = {
    "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc",
    "proc/self/mountinfo": "31 30 0:27 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
    "32 30 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory",
}


@pytest.mark.parametrize(
    "files, quota",
    [
        ({}, None),
        (V2, None),
        ({**V2, "sys/fs/cgroup/box/inner/cpu.max": "max 100000"}, None),
        ({**V2, "sys/fs/cgroup/box/inner/cpu.max": "250000 100000"}, 2.5),
        (
            {
                **V2,
                "sys/fs/cgroup/box/inner/cpu.max": "max 100000",
                "sys/fs/cgroup/box/cpu.max": "50000 100000",
            },
            0.5,
        ),
        (
            {
                **V2,
                "sys/fs/cgroup/box/inner/cpu.max": "150000 100000",
                "sys/fs/cgroup/cpu.max": "900000 100000",
            },
            1.5,
        ),
        ({**V2, "proc/self/cgroup": "0::/../elsewhere", "sys/fs/cgroup/cpu.max": "100000 100000"}, 1.0),
        (V1, None),
        ({**V1, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1"}, None),
        (
            {
                **V1,
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "200000",
            },
            1.5,
        ),
        ({**V2, "sys/fs/cgroup/box/inner/cpu.max": "rubbish"}, None),
    ],
)
def test_cpu_quota(tmp_path, files, quota):
    assert cgroup.cpu_quota(write(tmp_path, files)) == quota
    count = workers.default_threads(tmp_path)
    assert count >= 1
    if quota is not None:
        assert count <= max(1, int(quota))


@pytest.mark.parametrize(
    "files, free",
    [
        (V2, None),
        (
            {
                **V2,
                "sys/fs/cgroup/box/inner/memory.max": "1000",
                "sys/fs/cgroup/box/inner/memory.current": "400",
                "sys/fs/cgroup/box/memory.max": "max",
                "sys/fs/cgroup/box/memory.current": "900",
            },
            600,
        ),
        (
            {
                **V1,
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1100",
            },
            0,
        ),
        (
            {
                **V1,
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "5",
            },
            None,
        ),
    ],
)
def test_free_memory(tmp_path, files, free):
    assert cgroup.free_memory(write(tmp_path, files)) == free


def test_available_memory_is_plausible_and_enforced():
    available = memory.available_memory()
    if available is None:
        pytest.skip("this system tells nothing")
    assert 1 << 20 < available < 1 << 50
    memory.check_memory(1 << 10, "test")
    with pytest.raises(memory.OutOfMemoryError, match="not enough memory for the test"):
        memory.check_memory(available * 4, "test")


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (1000, 7)])
@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_aligned_arrays(shape, dtype):
    array = memory.aligned_empty(TensorType(shape, dtype))
    assert array.shape == shape and array.dtype == dtype.numpy and array.flags.c_contiguous
    assert array.flags.writeable and (array.size == 0 or array.ctypes.data % 64 == 0)
    array[...] = 1
    assert memory.arena(array.nbytes).ctypes.data % 4096 == 0


def run_crew(pool, count, task):
    crew = pool.reserve(count)
    crew.start(task, first=0)
    crew.join()
    return crew


def test_all_numbers_run_at_the_same_time_and_threads_are_reused():
    pool, barrier, seen = workers.Pool(), threading.Barrier(4), []

    def task(number):
        barrier.wait()  # broken unless all four are inside together
        seen.append((number, threading.get_ident()))

    for _ in range(20):
        run_crew(pool, 4, task)
    assert sorted(number for number, _ in seen) == sorted(list(range(4)) * 20)
    assert len({thread for _, thread in seen}) == 4


def test_crews_of_different_callers_never_share_workers():
    pool = workers.Pool()
    inside = threading.Barrier(6)

    def call():
        run_crew(pool, 3, lambda number: inside.wait())

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not inside.broken


def test_a_task_that_raises_is_reported_to_the_caller():
    pool = workers.Pool()
    with pytest.raises(ZeroDivisionError):
        run_crew(pool, 2, lambda number: 1 // number)
    done = []
    run_crew(pool, 2, done.append)
    assert sorted(done) == [0, 1]


def test_a_crew_never_started_is_disbanded():
    pool = workers.Pool()
    crew = pool.reserve(3)
    crew.join()
    assert not crew.launched and len(pool._idle) == 3


def test_waiting_gives_up_after_its_time():
    pool, gate = workers.Pool(), threading.Event()
    crew = pool.reserve(1)
    crew.start(lambda number: gate.wait(), first=0)
    assert not crew.wait(0.01)
    gate.set()
    crew.join()
    assert crew.wait(0.0)


def test_idle_workers_keep_nothing_alive():
    class Big:
        def run(self, number):
            pass

    pool, big = workers.Pool(), Big()
    reference = weakref.ref(big)
    run_crew(pool, 2, big.run)
    del big
    gc.collect()
    assert reference() is None


def test_a_lock_is_exclusive():
    lock, count = workers.ForkSafeLock(), np.zeros(1, np.int64)

    def work():
        for _ in range(2000):
            with lock:
                value = int(count[0])
                count[0] = value + 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count[0] == 8000


def test_interrupts_are_deferred_only_inside():
    reacted = []
    with workers.interrupts_deferred(lambda: reacted.append(1)) as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.requested and reacted == [1]
    with workers.interrupts_deferred() as interruption:
        pass
    assert not interruption.requested
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
