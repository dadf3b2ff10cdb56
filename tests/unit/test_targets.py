"""The table of targets agrees with the targets."""

import pytest

from infini_ir.targets.cpu.features import NAMES
from infini_ir.targets.registry import ENTRIES, make, parse
from infini_ir.utils.errors import OptionError

SPECS = [f"{e.name}:{a}" for e in ENTRIES.values() for a in e.architectures]


@pytest.mark.parametrize("spec", [*ENTRIES, *SPECS])
def test_targets_can_be_made(spec: str):
    target = make(spec, cache=False)
    entry, architecture = parse(spec)
    assert (target.name, target.architecture) == (entry.name, architecture)
    assert target.passes()


def test_processors_are_those_of_the_code_generator():
    assert ENTRIES["cpu"].architectures == NAMES


@pytest.mark.parametrize("spec", ["tpu", "cpu:z80", "nvidia:sm_1", "ascend:", ":sm_90", ""])
def test_unknown_ones_are_refused_with_what_there_is(spec: str):
    with pytest.raises(OptionError, match=r"there are|names no architecture"):
        make(spec)


@pytest.mark.parametrize("name", ENTRIES)
def test_library_is_an_option_of_some(name: str):
    if "library" in ENTRIES[name].options:
        make(name, library=True)
    else:
        with pytest.raises(OptionError, match="calls no vendor library"):
            make(name, library=True)
