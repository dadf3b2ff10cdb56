"""The official ONNX backend suite, all kinds, through `infini_ir.compile` on the CPU.

`expected_failures.toml` lists the tests that do not pass, and why. It may only shrink: a test
that is listed and passes fails here, and so does one that fails and is not listed.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
import unittest
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx.backend.test import BackendTest

from infini_ir.frontends.onnx import backend

LIST = Path(__file__).with_name("expected_failures.toml")

PASSING_NODE_TESTS = 1837
"""What has been reached; raise it with every test that leaves the list."""


@dataclass(frozen=True)
class Expected:
    """A failure that is known: what is raised, and why."""

    reason: str
    raises: str


class Suite(BackendTest):
    """The suite, comparing lists of scalars too: its own comparison asks for their length."""

    @classmethod
    def assert_similar_outputs(
        cls, ref_outputs: Any, outputs: Any, *args: Any, **named: Any
    ) -> None:
        scalar = isinstance(ref_outputs, np.ndarray) and ref_outputs.ndim == 0
        pair = ([ref_outputs], [outputs]) if scalar else (ref_outputs, outputs)
        super().assert_similar_outputs(*pair, *args, **named)


def collect() -> dict[str, dict[str, Callable[[], None]]]:
    """The suite's tests for the CPU by kind and name (without the suite's `_cpu`)."""
    # The suite keeps the inputs of its light models in this folder.
    os.environ.setdefault("ONNX_HOME", tempfile.mkdtemp(prefix="infini-onnx-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kinds = Suite(backend, __name__).test_cases  # pyright: ignore[reportArgumentType]
    return {
        kind.removeprefix("OnnxBackend").removesuffix("ModelTest"): {
            method.removesuffix("_cpu"): partial(run_method, case, method)
            for method in dir(case)
            if method.startswith("test_") and method.endswith("_cpu")
        }
        for kind, case in kinds.items()
    }


def run_method(case: type[unittest.TestCase], method: str) -> None:
    getattr(case(method), method)()


def read_list() -> dict[str, Expected]:
    """The expected failures by the test's name."""
    expected: dict[str, Expected] = {}
    for group in tomllib.loads(LIST.read_text())["group"]:
        for name in group["tests"]:
            assert name not in expected, f"{name} is listed twice"
            expected[name] = Expected(group["reason"], group["raises"])
    return expected


KINDS = collect()
CASES = {name: run for tests in KINDS.values() for name, run in tests.items()}
EXPECTED = read_list()


@pytest.mark.parametrize("name", sorted(CASES))
def test_case(name: str) -> None:
    expected = EXPECTED.get(name)
    try:
        CASES[name]()
    except Exception as error:
        if expected is None or type(error).__name__ != expected.raises:
            raise
        pytest.xfail(expected.reason)
    if expected is not None:
        pytest.fail(f"{name} passes now: remove it from {LIST.name}", pytrace=False)


def test_list_names_only_tests_of_the_suite() -> None:
    assert EXPECTED.keys() <= CASES.keys()


def test_count_of_passing_node_tests() -> None:
    # Every other test passes, or `test_case` has failed.
    assert len(KINDS["Node"].keys() - EXPECTED.keys()) >= PASSING_NODE_TESTS
