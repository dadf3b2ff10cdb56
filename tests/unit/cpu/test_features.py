"""Processors by name and from the kernel's flags."""

import pytest

from infini_ir.runtime.host import cpu_count_available, host_flags, parse_flags
from infini_ir.targets.cpu.features import NAMES, from_flags, host, named
from infini_ir.utils.errors import OptionError


@pytest.mark.parametrize(
    "name, size",
    [
        ("x86-64", 16),
        ("x86-64-v3", 32),
        ("x86-64-v4", 64),
        ("sapphirerapids", 64),
        ("aarch64", 16),
    ],
)
def test_named(name, size):
    assert named(name).vector_bytes == size


def test_unknown_name():
    with pytest.raises(OptionError, match=r"'z80'.*native, x86-64,.*aarch64"):
        named("z80")
    assert "native" in NAMES


def test_host_runs_its_own_code():
    assert host().required_flags <= host_flags()
    assert host().l2_bytes >= host().l1_bytes >= 8 << 10
    assert cpu_count_available() >= 1


def test_a_flag_round_trip():
    cpu = named("sapphirerapids")
    again = from_flags("x86-64", cpu.required_flags)
    assert again.features == cpu.features
    assert again.cpu == "sapphirerapids"
    assert again.has_amx_bf16 and again.has_amx_int8 and again.has_avx512_bf16


def test_half_an_avx512_is_none():
    flags = named("x86-64-v4").required_flags - {"avx512vl"}
    cpu = from_flags("x86-64", flags)
    assert not any(name.startswith("avx512") for name in cpu.features)
    assert cpu.cpu == "x86-64-v3"
    assert cpu.vector_bytes == 32
    assert "-avx512f" in cpu.feature_string


def test_parse_flags():
    text = "processor\t: 0\nflags\t\t: sse avx2\n\nprocessor\t: 1\nflags\t\t: sse\n"
    assert parse_flags(text) == {"sse", "avx2"}
    assert parse_flags("Features\t: fp asimd\n") == {"fp", "asimd"}
    assert parse_flags("") == frozenset()
