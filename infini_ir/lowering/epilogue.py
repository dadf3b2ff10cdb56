"""What follows a kernel's anchor (a product, a convolution, a pool) in its cluster.

The anchor's result has the kernel's domain, perhaps after rearranging its axes. Results of
the cluster are elementwise functions of it; views between the anchor and a result are
undone, so that all is seen in the shape of the domain.
"""

from __future__ import annotations

from collections.abc import Callable

from xdsl.ir import Operation, SSAValue

from infini_ir.dialects.graph import tensor_type
from infini_ir.lowering.cluster import Cluster, UnfusableError
from infini_ir.lowering.expression import Convert, Expression, Input, Node, Operands
from infini_ir.lowering.host_builder import HostBuilder
from infini_ir.lowering.placement import Placement
from infini_ir.lowering.view_ops import Chain, View, inverse_of, is_view, view_of
from infini_ir.utils.symbolic import ONE

OwnMemory = Callable[[SSAValue], Placement]


class Epilogue:
    """The results of a cluster as functions of its anchor."""

    def __init__(self, cluster: Cluster, anchor: SSAValue, arrange: Chain, dtype: str) -> None:
        """`arrange` brings the anchor's result to the shape of the domain; `dtype` is the
        element type in which the kernel has it."""
        self.cluster = cluster
        self.anchor = anchor
        self.operands = Operands()
        self.expression = Expression(cluster, self.operands, self._resolve)
        self._kernel_dtype = dtype
        self._arranged: set[Chain] = set()
        self._chains: list[Chain] = []
        for value in cluster.outputs:
            forward = _path_to(anchor, value)
            back = _undo(forward)
            self._arranged.add((*forward, *back, *arrange))
            self._chains.append((*back, *arrange))
            self.expression.add_root(value, self._chains[-1])

    @property
    def is_plain(self) -> bool:
        """Whether the only result is the anchor as the kernel has it."""
        return len(self.expression.nodes) == 1 and len(self.expression.roots) == 1

    def _resolve(self, value: SSAValue, chain: Chain) -> Node | None:
        if value is not self.anchor:
            return None
        if chain not in self._arranged:
            raise UnfusableError("the anchor's result is used in two shapes")
        dtype = tensor_type(value).dtype
        held = Input(0, "tile")
        if dtype == self._kernel_dtype:
            return held
        return Convert(self.expression.number(held), dtype)

    def targets(
        self, host: HostBuilder, contiguous: bool, own: OwnMemory | None = None
    ) -> list[Placement]:
        """Where results go, in the shape of the domain. `contiguous`: the last axis must
        have neighbours in memory; `own` makes memory for a result that may go anywhere."""
        found: list[Placement] = []

        def fits(placement: Placement, chain: Chain) -> Placement | None:
            seen: Placement | None = placement
            for view in chain:
                seen = view.change(seen)
                if seen is None:
                    return None
            last = seen.rank - 1
            if contiguous and last >= 0 and seen.shape[last] is not ONE:
                return seen if seen.strides[last] is ONE else None
            return seen

        for result, chain in zip(self.cluster.results, self._chains, strict=True):
            make = None if own is None else lambda r=result: own(r)
            placed = host.destination(result, lambda p, c=chain: fits(p, c) is not None, make)
            seen = fits(placed, chain)
            if seen is None:
                raise UnfusableError("a reshape after the anchor that memory cannot follow")
            found.append(seen)
        return found


def _path_to(anchor: SSAValue, value: SSAValue) -> Chain:
    """The views between the anchor and a result, in the order they are applied."""
    seen: set[SSAValue] = set()

    def search(current: SSAValue, chain: tuple[View, ...]) -> Chain | None:
        if current is anchor:
            return chain
        op = current.owner
        if current in seen or not isinstance(op, Operation):
            return None
        seen.add(current)
        step = (view_of(op), *chain) if is_view(op) else chain
        for operand in op.operands:
            found = search(operand, step)
            if found is not None:
                return found
        return None

    path = search(value, ())
    if path is None:
        raise UnfusableError("a result that does not depend on the anchor")
    return path


def _undo(forward: Chain) -> Chain:
    back: list[View] = []
    for view in reversed(forward):
        inverse = inverse_of(view.key) if isinstance(view.key, Operation) else None
        if inverse is None:
            raise UnfusableError("a view after the anchor that drops or repeats elements")
        back.append(inverse)
    return tuple(back)
