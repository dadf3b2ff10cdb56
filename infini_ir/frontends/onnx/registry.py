"""The table of ONNX operators: which function imports which operator since which version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from xdsl.ir import SSAValue

    from infini_ir.frontends.onnx.node import Node
    from infini_ir.frontends.onnx.values import Entry

    Output = SSAValue | Entry | None
    OperatorFunction = Callable[[Node], Output | Sequence[Output]]

Function = TypeVar("Function", bound=Callable)

_operators: dict[tuple[str, str], dict[int, OperatorFunction]] = {}


def canonical_domain(domain: str) -> str:
    """The domain's usual spelling: `ai.onnx` is the unnamed one."""
    return "" if domain == "ai.onnx" else domain


def operator(name: str, since: int = 1, domain: str = "") -> Callable[[Function], Function]:
    """Register a function that imports an ONNX operator.

    It serves models whose opset of `domain` is at least `since`, up to the next registered
    version. It takes the `Node` and gives its outputs: one value, or a list with None for
    an output that is not computed. Decorate twice to serve two operators.
    """

    def register(function: Function) -> Function:
        versions = _operators.setdefault((domain, name), {})
        assert since not in versions, f"{domain}:{name} since {since} is registered twice"
        versions[since] = function
        return function

    return register


@cache
def load_operators() -> None:
    """Import the operator files, once."""
    import_module("infini_ir.frontends.onnx.operators")


def operators_for(domain: str, name: str) -> dict[int, OperatorFunction]:
    """The functions of one operator by the version they serve from."""
    load_operators()
    return dict(_operators.get((canonical_domain(domain), name), {}))


def find_operator(domain: str, name: str, opset: int) -> OperatorFunction | None:
    """The newest function that serves `opset`, if there is one."""
    versions = operators_for(domain, name)
    since = max((v for v in versions if v <= opset), default=None)
    return None if since is None else versions[since]


def supported() -> list[tuple[str, str, tuple[int, ...]]]:
    """All registered operators: (domain, name, versions served from), sorted."""
    load_operators()
    return sorted((d, n, tuple(sorted(v))) for (d, n), v in _operators.items())
