"""What is in use of a container's or a host's CPU and memory."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from streamkit.family import Family
from streamkit.usage import (
    Container,
    CpuLimit,
    Host,
    HostTimes,
    Usage,
    bytes_allowed,
    cores_allowed,
    field_of,
    host_times,
    own_group,
)

CPU_STAT = """usage_usec 7250000
user_usec 5000000
system_usec 2250000
nr_periods 12
"""
MEMORY_STAT = """anon 300
file 700
inactive_anon 100
active_anon 200
inactive_file 400
active_file 300
"""


# -- what the kernel's files say ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cores"),
    [("200000 100000\n", 2.0), ("50000 100000", 0.5), ("max 100000\n", None), ("max", None)],
)
def test_a_quota_is_so_many_cores(text: str, cores: float | None) -> None:
    assert cores_allowed(text) == cores


@pytest.mark.parametrize(("text", "size"), [("1073741824\n", 2**30), ("max\n", None)])
def test_a_limit_of_memory_is_in_bytes(text: str, size: int | None) -> None:
    assert bytes_allowed(text) == size


def test_a_field_is_found_by_its_whole_name() -> None:
    assert field_of(CPU_STAT, "usage_usec") == 7_250_000
    assert field_of(MEMORY_STAT, "inactive_file") == 400
    assert field_of(MEMORY_STAT, "file") == 700
    assert field_of(MEMORY_STAT, "nothing") == 0


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("0::/\n", ""),
        ("0::/system.slice/ocr.service\n", "system.slice/ocr.service"),
        ("12:cpu:/old\n0::/pods/one\n", "pods/one"),
        ("0::/../../elsewhere\n", ""),
        ("4:memory:/docker/one\n3:cpu:/docker/one\n", None),
        ("", None),
    ],
)
def test_the_own_group_is_that_of_version_2(text: str, group: str | None) -> None:
    assert own_group(text) == group


def test_a_host_is_busy_when_it_neither_idles_nor_waits_and_guests_count_once() -> None:
    times = {"user": 50.0, "nice": 5.0, "system": 10.0, "idle": 30.0, "iowait": 5.0, "guest": 20.0}
    assert host_times(times) == HostTimes(65.0, 100.0)


# -- containers -----------------------------------------------------------------------------------


def group(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="ascii")
    return folder


LIMITED = {
    "cpu.max": "200000 100000\n",
    "cpu.stat": CPU_STAT,
    "memory.max": "2000\n",
    "memory.current": "1400\n",
    "memory.stat": MEMORY_STAT,
}
UNLIMITED = {**LIMITED, "cpu.max": "max 100000\n", "memory.max": "max\n"}


def container(groups: Path, own: str) -> Container:
    """The container of a process whose /proc/self/cgroup says that."""
    (groups.parent / "own").write_text(own, encoding="ascii")
    return Container.own(groups, groups.parent / "own")


def test_a_containers_limits_are_those_of_its_own_group(tmp_path: Path) -> None:
    groups = group(tmp_path / "groups", {})
    group(groups / "pods", {**LIMITED, "memory.max": "10000", "cpu.max": "900000 100000"})
    group(groups / "pods" / "one", LIMITED)
    found = container(groups, "0::/pods/one\n")
    assert found.cpu() == CpuLimit(2.0, 7.25)
    assert found.memory() == 0.5


def test_a_group_without_a_limit_has_that_of_the_one_above(tmp_path: Path) -> None:
    groups = group(tmp_path / "groups", LIMITED)
    group(groups / "pods" / "one", {**UNLIMITED, "memory.max": "1000"})
    found = container(groups, "0::/pods/one\n")
    assert found.cpu() == CpuLimit(2.0, 7.25)
    assert found.memory() == 1.0


def test_inside_of_a_container_its_group_is_the_outermost(tmp_path: Path) -> None:
    found = container(group(tmp_path / "groups", LIMITED), "0::/\n")
    assert found.cpu() == CpuLimit(2.0, 7.25)
    assert found.memory() == 0.5


@pytest.mark.parametrize(
    ("files", "own"),
    [
        (UNLIMITED, "0::/\n"),
        ({}, "0::/\n"),
        (LIMITED, "4:memory:/docker/one\n"),
        ({**LIMITED, "cpu.max": "many", "memory.max": "much"}, "0::/\n"),
    ],
)
def test_without_a_limit_that_can_be_read_there_is_no_container(
    tmp_path: Path, files: Mapping[str, str], own: str
) -> None:
    found = container(group(tmp_path / "groups", files), own)
    assert (found.cpu(), found.memory()) == (None, None)


def test_a_system_without_groups_has_no_container(tmp_path: Path) -> None:
    found = Container.own(tmp_path / "groups", tmp_path / "nothing")
    assert (found.cpu(), found.memory()) == (None, None)


# -- together -------------------------------------------------------------------------------------


class Processes(Family):
    """Processes that have used so much as the test says."""

    def __init__(self) -> None:
        self.used: dict[psutil.Process, float] = {}

    def resident(self) -> int:
        return 1_000

    def cpu_s(self) -> Mapping[psutil.Process, float]:
        return dict(self.used)


class Machine(Host):
    """A host that is as busy as the test says."""

    def __init__(self) -> None:
        self.times = HostTimes(0.0, 0.0)
        self.in_use = 0.25

    def cpu(self) -> HostTimes:
        return self.times

    def memory(self) -> float:
        return self.in_use


class Bench:
    """A Usage and what it measures."""

    def __init__(self, container: Container | None = None) -> None:
        self.now = 100.0
        self.family, self.host = Processes(), Machine()
        self.usage = Usage(self.family, container or Container(()), self.host, lambda: self.now)


def a_process() -> psutil.Process:
    return psutil.Process(os.getpid())


def test_without_a_container_the_share_is_the_hosts_between_two_measurements() -> None:
    bench = Bench()
    assert bench.usage.measure() == (0.0, 0.0, 0.25, 1_000)
    bench.now, bench.host.times = 105.0, HostTimes(9.0, 20.0)
    assert bench.usage.measure().cpu == 0.45
    bench.now, bench.host.times = 110.0, HostTimes(29.0, 40.0)
    assert bench.usage.measure().cpu == 1.0


def test_in_a_container_the_share_is_of_what_it_may_use(tmp_path: Path) -> None:
    folder = group(tmp_path / "groups", LIMITED)
    bench = Bench(Container((folder,)))
    bench.now, bench.host.times = 105.0, HostTimes(1.0, 1.0)
    (folder / "cpu.stat").write_text("usage_usec 12250000\n", encoding="ascii")
    assert bench.usage.measure() == (0.5, 0.0, 0.5, 1_000)


def test_a_container_whose_limit_was_lowered_is_not_used_more_than_wholly(tmp_path: Path) -> None:
    folder = group(tmp_path / "groups", {**LIMITED, "memory.max": "500"})
    bench = Bench(Container((folder,)))
    bench.now = 101.0
    (folder / "cpu.stat").write_text("usage_usec 99000000\n", encoding="ascii")
    assert bench.usage.measure()[:3] == (1.0, 0.0, 1.0)
    (folder / "cpu.stat").write_text("usage_usec 0\n", encoding="ascii")
    bench.now = 102.0
    assert bench.usage.measure().cpu == 0.0


def test_cores_are_what_the_processes_used_and_one_that_ended_takes_nothing_back() -> None:
    bench = Bench()
    (one, other) = a_process(), psutil.Process(1)
    bench.family.used = {one: 50.0, other: 400.0}
    bench.now = 110.0
    bench.usage.measure()
    bench.family.used = {one: 65.0, other: 405.0}
    bench.now = 120.0
    assert bench.usage.measure().cpu_cores == 2.0
    bench.family.used = {one: 70.0}
    bench.now = 130.0
    assert bench.usage.measure().cpu_cores == 0.5
    bench.family.used = {}
    bench.now = 140.0
    assert bench.usage.measure().cpu_cores == 0.0


def test_cpu_is_not_measured_over_a_moment() -> None:
    bench = Bench()
    bench.now, bench.host.times = 105.0, HostTimes(9.0, 20.0)
    assert bench.usage.measure().cpu == 0.45
    bench.now, bench.host.times = 105.01, HostTimes(9.01, 20.01)
    assert bench.usage.measure().cpu == 0.45
    bench.now, bench.host.times = 110.0, HostTimes(9.01, 30.0)
    assert bench.usage.measure().cpu < 0.01


def test_this_very_machine_is_measured() -> None:
    times, share = Host().cpu(), Host().memory()
    assert 0 < times.busy_s < times.all_s
    assert 0 < share < 1
    found = Usage().measure()
    assert 0 <= found.memory <= 1
    assert found.memory_bytes > 1_000_000


def test_the_family_knows_at_once_what_was_started_before() -> None:
    program = "sum(range(30_000_000)); print('done', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"done\n"
        used = Family(os.getpid(), at_once=True).cpu_s()
        late = Family(os.getpid()).cpu_s()
        started.kill()
    assert used[psutil.Process(os.getpid())] > 0
    assert {one.pid: seconds > 0 for one, seconds in used.items()}[started.pid]
    assert started.pid not in {one.pid for one in late}
