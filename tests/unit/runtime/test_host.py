"""How many processors may be used: affinity masks and control groups."""

import os
from pathlib import Path

import pytest

from infini_ir.runtime import host


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that lays out control groups: the process's own, and files by path."""

    def lay_out(own: str, files: dict[str, str]) -> None:
        (tmp_path / "cgroup").write_text(own)
        for path, text in files.items():
            place = tmp_path / "root" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    monkeypatch.setattr(host, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(host, "_CGROUP_ROOT", tmp_path / "root")
    host.cpu_quota.cache_clear()
    yield lay_out
    host.cpu_quota.cache_clear()


@pytest.mark.parametrize(
    "own, files, quota",
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "300000 100000"}, 0.5),
        ("0::/../x\n", {"cpu.max": "400000 100000"}, 4.0),
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
        ("garbage\n", {}, None),
        (
            "4:cpu,cpuacct:/d\n5:memory:/d\n",
            {"cpu/d/cpu.cfs_quota_us": "200000\n", "cpu/d/cpu.cfs_period_us": "100000\n"},
            2.0,
        ),
        (
            "4:cpu,cpuacct:/d\n",
            {"cpu/d/cpu.cfs_quota_us": "-1\n", "cpu/d/cpu.cfs_period_us": "100000\n"},
            None,
        ),
    ],
)
def test_quota_of_control_groups(groups, own: str, files: dict[str, str], quota: float | None):
    groups(own, files)
    assert host.cpu_quota() == quota


def test_no_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    host.cpu_quota.cache_clear()
    monkeypatch.setattr(host, "_CGROUPS", tmp_path / "none")
    assert host.cpu_quota() is None
    host.cpu_quota.cache_clear()


def test_the_count_is_at_least_one(groups, monkeypatch: pytest.MonkeyPatch):
    groups("0::/\n", {"cpu.max": "150000 100000"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert host.cpu_count_available() == 1
    host.cpu_quota.cache_clear()
    groups("0::/\n", {"cpu.max": "20000 100000"})
    assert host.cpu_count_available() == 1
    host.cpu_quota.cache_clear()
    groups("0::/\n", {"cpu.max": "900000 100000"})
    assert host.cpu_count_available() == 3
