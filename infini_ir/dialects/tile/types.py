"""The types of the tile dialect: views of memory and tiles of values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xdsl.dialects.builtin import IntegerType, Signedness
from xdsl.ir import Attribute, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import irdl_attr_definition, param_def
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from infini_ir.dialects.dims import DimsAttr, dim_list_text, parse_dim_list
from infini_ir.dialects.graph.types import element_name, element_type
from infini_ir.utils.symbolic import ONE, Dim, product


def dense_strides(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """Row-major strides, in elements."""
    strides: list[Dim] = []
    step = ONE
    for size in reversed(shape):
        strides.append(step)
        step = step * size
    return tuple(reversed(strides))


GROUPS = 16
"""Groups of an interleaved axis that lie in one run at most: rows of a matrix unit's tile."""


def group_runs(size: int, group: int) -> tuple[int, int]:
    """How an axis of `size` is stored by groups: (runs, groups in each), all runs equally long."""
    groups = -(-size // group)
    runs = max(1, -(-groups // GROUPS))
    return runs, max(1, -(-groups // runs))


def packed_shape(
    shape: Sequence[int], batch: int, width: int, group: int = 1
) -> tuple[int, ...]:
    """The sizes in memory of [batch.., k.., n] in panels: [batch.., ceil(n / width), k.., width],
    or, interleaved, [batch.., ceil(n / width), k.., groups, width, group]."""
    panels = -(-shape[-1] // width)
    if group == 1:
        return (*shape[:batch], panels, *shape[batch:-1], width)
    runs, height = group_runs(shape[-2], group)
    return (*shape[:batch], panels, *shape[batch:-2], runs * height, width, group)


@irdl_attr_definition
class ViewType(ParametrizedAttribute, TypeAttribute):
    """
    Memory with a shape: `!tile.view<[M, 1024], f32>`.

    Row-major unless strides (in elements, possibly 0 or negative) are given:
    `!tile.view<[M, 64], f32, strides [0, 1]>`. A target pass may give a packed layout:
    `panel 32` is the physical order [ceil(n / 32), all other axes, 32] of the last axis n,
    filled up with zeros. `panel 16 by 4` also interleaves the axis before it, k, by 4:
    [ceil(n / 16), other axes, k / 4, 16, 4], k filled up with zeros (`group_runs`).
    `panel 32 batch 2` leaves the first two axes outermost, each of their matrices packed.
    """

    name = "tile.view"

    dims: DimsAttr = param_def()
    element: Attribute = param_def()
    stride_dims: DimsAttr = param_def()
    panel: DimsAttr = param_def()

    @staticmethod
    def of(
        shape: Iterable[int | str | Dim],
        element: str | Attribute,
        strides: Iterable[int | str | Dim] | None = None,
        panel: int = 0,
        group: int = 1,
        batch: int = 0,
    ) -> ViewType:
        attribute = element_type(element) if isinstance(element, str) else element
        dims = DimsAttr.of(shape)
        step = DimsAttr.of(strides if strides is not None else dense_strides(dims.data))
        return ViewType(dims, attribute, step, DimsAttr.of(_layout(panel, group, batch)))

    @property
    def shape(self) -> tuple[Dim, ...]:
        return self.dims.data

    @property
    def strides(self) -> tuple[Dim, ...]:
        return self.stride_dims.data

    @property
    def panel_width(self) -> int:
        """Width of the packed panels, 0 where the layout is strided."""
        return self.panel.data[0].value or 0

    @property
    def panel_group(self) -> int:
        """How many neighbours along k lie side by side in a packed panel; 1: not interleaved."""
        return (self.panel.data[1].value or 1) if len(self.panel.data) > 1 else 1

    @property
    def panel_batch(self) -> int:
        """How many leading axes lie outside the panels, each of their matrices packed."""
        return (self.panel.data[2].value or 0) if len(self.panel.data) > 2 else 0

    @property
    def rank(self) -> int:
        return len(self.dims.data)

    @property
    def dtype(self) -> str:
        return element_name(self.element)

    def is_dense(self) -> bool:
        """Row-major without gaps; the strides of axes of size 1 do not matter."""
        dense = dense_strides(self.shape)
        return not self.panel_width and all(
            stride is wanted or size is ONE
            for size, stride, wanted in zip(self.shape, self.strides, dense, strict=True)
        )

    def element_count(self) -> Dim:
        return product(self.shape)

    def verify(self) -> None:
        if len(self.shape) != len(self.strides):
            raise VerifyException(f"{len(self.strides)} strides for {len(self.shape)} axes")
        if self.panel_group > 1 and self.rank < 2:
            raise VerifyException("panels of groups need two axes")
        packed = 2 if self.panel_group > 1 else 1
        if self.panel_batch and self.rank < self.panel_batch + packed:
            raise VerifyException(f"{self.panel_batch} batch axes leave none to pack")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            dims = parse_dim_list(parser)
            parser.parse_punctuation(",")
            element = parser.parse_type()
            strides, panel = dense_strides(dims), [0]
            while parser.parse_optional_punctuation(","):
                if parser.parse_optional_keyword("strides"):
                    strides = parse_dim_list(parser)
                else:
                    parser.parse_keyword("panel")
                    panel = _parse_layout(parser)
            return DimsAttr(dims), element, DimsAttr(strides), DimsAttr.of(panel)

    def print_parameters(self, printer: Printer) -> None:
        printer.print_string(f"<{dim_list_text(self.shape)}, ")
        printer.print_attribute(self.element)
        if self.strides != dense_strides(self.shape):
            printer.print_string(f", strides {dim_list_text(self.strides)}")
        if self.panel_width:
            printer.print_string(f", panel {self.panel_width}")
        if self.panel_group > 1:
            printer.print_string(f" by {self.panel_group}")
        if self.panel_batch:
            printer.print_string(f" batch {self.panel_batch}")
        printer.print_string(">")


def _layout(panel: int, group: int, batch: int) -> list[int]:
    """The numbers of a packed layout, without those at the end that say nothing."""
    if batch:
        return [panel, group, batch]
    return [panel] if group == 1 else [panel, group]


def _parse_layout(parser: AttrParser) -> list[int]:
    numbers = {"by": 1, "batch": 0}
    panel = parser.parse_integer(allow_boolean=False, allow_negative=False)
    for keyword in numbers:
        if parser.parse_optional_keyword(keyword):
            numbers[keyword] = parser.parse_integer(allow_boolean=False, allow_negative=False)
    return _layout(panel, numbers["by"], numbers["batch"])


@irdl_attr_definition
class TileType(ParametrizedAttribute, TypeAttribute):
    """
    A value of at most this size: `!tile.tile<[BM, 64], f32>`. The size is a capacity; the
    value's extent is smaller at the edge of what it was loaded from. A capacity may name a
    parameter of the kernel, which a target's plan fixes.
    """

    name = "tile.tile"

    dims: DimsAttr = param_def()
    element: Attribute = param_def()

    @staticmethod
    def of(shape: Iterable[int | str | Dim], element: str | Attribute) -> TileType:
        attribute = element_type(element) if isinstance(element, str) else element
        return TileType(DimsAttr.of(shape), attribute)

    @property
    def shape(self) -> tuple[Dim, ...]:
        return self.dims.data

    @property
    def rank(self) -> int:
        return len(self.dims.data)

    @property
    def dtype(self) -> str:
        return element_name(self.element)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            dims = DimsAttr(parse_dim_list(parser))
            parser.parse_punctuation(",")
            return dims, parser.parse_type()

    def print_parameters(self, printer: Printer) -> None:
        printer.print_string(f"<{dim_list_text(self.shape)}, ")
        printer.print_attribute(self.element)
        printer.print_string(">")


def scalar_of(element: Attribute) -> Attribute:
    """The type of one element in scalar code: unsigned integers are signless there."""
    if isinstance(element, IntegerType) and element.signedness.data is Signedness.UNSIGNED:
        return IntegerType(element.width.data)
    return element


def view_type(value: SSAValue) -> ViewType:
    """The type of a value that must be a view."""
    assert isinstance(value.type, ViewType), value.type
    return value.type


def tile_type(value: SSAValue) -> TileType:
    """The type of a value that must be a tile."""
    assert isinstance(value.type, TileType), value.type
    return value.type
