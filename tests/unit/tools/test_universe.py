"""The table of passes and dialects names everything there is, and nothing else."""

import importlib
import inspect
import pkgutil

import pytest
from xdsl.ir import Dialect
from xdsl.passes import ModulePass

import infini_ir
from infini_ir import universe

PLACES = ("passes", "lowering", "targets")


def all_passes() -> dict[str, type[ModulePass]]:
    """Every pass class defined in the package."""
    found: dict[str, type[ModulePass]] = {}
    for place in PLACES:
        package = importlib.import_module(f"infini_ir.{place}")
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            for _, value in inspect.getmembers(module, inspect.isclass):
                own = value.__module__.startswith("infini_ir.")
                if own and issubclass(value, ModulePass) and "name" in value.__dict__:
                    found[value.name] = value
    return found


def test_every_pass_is_listed():
    found = all_passes()
    listed = {
        name: made
        for name, factory in universe.PASSES.items()
        if (made := factory()).__module__.startswith(infini_ir.__name__)
    }
    assert listed == found


@pytest.mark.parametrize("name", universe.PASSES)
def test_passes_are_listed_by_their_name(name):
    made = universe.PASSES[name]()
    assert issubclass(made, ModulePass)
    assert made.name == name


@pytest.mark.parametrize("name", universe.DIALECTS)
def test_dialects_are_listed_by_their_name(name):
    made = universe.DIALECTS[name]()
    assert isinstance(made, Dialect)
    assert made.name == name


@pytest.mark.parametrize("name", universe.TARGETS)
def test_outputs_are_listed_by_their_name(name):
    assert universe.TARGETS[name]().name == name


def test_default_pipeline_is_graph_then_tile():
    names = {kind: [p.name for p in universe.pipeline(kind)] for kind in universe.PIPELINES}
    assert names["default"] == names["graph"] + names["tile"]
    assert names["tile"][0] == "graph-to-tile"
    assert set(names["default"]) <= universe.PASSES.keys()
