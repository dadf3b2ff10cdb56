"""What convolutions and pooling share: spatial attributes and padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infini_ir.frontends.onnx.node import Node
from infini_ir.utils.symbolic import Dim, maximum, minimum


@dataclass
class Spatial:
    """The attributes of a convolution or pooling, one entry a spatial axis."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    lo: list[Dim]
    hi: list[Dim]

    def extent(self, i: int) -> int:
        """How many neighbouring elements a window spans."""
        return (self.kernel[i] - 1) * self.dilations[i] + 1


def spatial_list(n: Node, name: str, count: int, default: int) -> list[int]:
    """A list attribute with one integer a spatial axis."""
    values = n.attribute(name, None) or [default] * count
    if len(values) != count:
        raise n.error(f"{name} {values} does not fit {count} spatial axes")
    return list(values)


def spatial_attributes(n: Node, sizes: Sequence[Dim], kernel: Sequence[int]) -> Spatial:
    """Strides, dilations and padding (explicit or by `auto_pad`) for an input of `sizes`."""
    count = len(sizes)
    if len(kernel) != count:
        raise n.error(f"the kernel {list(kernel)} does not fit {count} spatial axes")
    found = Spatial(
        list(kernel),
        spatial_list(n, "strides", count, 1),
        spatial_list(n, "dilations", count, 1),
        [],
        [],
    )
    auto = n.attribute("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        for i, size in enumerate(sizes):
            lo, hi = split_padding(_same_total(found, i, size), auto == "SAME_UPPER")
            found.lo.append(lo)
            found.hi.append(hi)
    elif auto in ("NOTSET", "VALID", ""):
        pads = n.attribute("pads", None) if auto != "VALID" else None
        pads = pads or [0] * (2 * count)
        if len(pads) != 2 * count:
            raise n.error(f"pads {pads} do not fit {count} spatial axes")
        found.lo = [Dim.of(p) for p in pads[:count]]
        found.hi = [Dim.of(p) for p in pads[count:]]
    else:
        raise n.error(f"auto_pad '{auto}' is not one of NOTSET, SAME_UPPER, SAME_LOWER, VALID")
    return found


def _same_total(found: Spatial, i: int, size: Dim) -> Dim:
    """Padding for which there are ceil(size / stride) windows."""
    stride = found.strides[i]
    windows = size.ceil_divide(stride)
    return maximum((windows - 1) * stride + found.extent(i) - size, 0)


def split_padding(total: Dim, upper: bool) -> tuple[Dim, Dim]:
    """Padding at both ends; the odd element goes to the end when `upper`."""
    smaller = total // 2
    return (smaller, total - smaller) if upper else (total - smaller, smaller)


def ceil_mode(found: Spatial, sizes: Sequence[Dim]) -> list[Dim]:
    """The padding at the ends that makes room for a last, partial window.

    A window that would start in the padding is dropped.
    """
    result: list[Dim] = []
    for i, size in enumerate(sizes):
        stride, extent = found.strides[i], found.extent(i)
        rest = size + found.lo[i] + found.hi[i] - extent
        windows = minimum(
            rest.ceil_divide(stride) + 1, (size + found.lo[i]).ceil_divide(stride)
        )
        needed = (windows - 1) * stride + extent - size - found.lo[i]
        result.append(maximum(needed, 0))
    return result
