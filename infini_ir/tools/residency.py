"""Where the data of each launch is when a program is called again and again.

The caches are taken to keep what was used last (pages in order of use, all of a kind of
cache together), as it is on the best day: nothing else runs, and a worker finds in its own
cache what another has written. So this gives the least traffic, for limits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from infini_ir.dialects import tile
from infini_ir.dialects.tile import program
from infini_ir.passes.tile.regions import root_of
from infini_ir.utils.dtypes import item_size
from infini_ir.utils.symbolic import Dim

PAGE = 4096
_MOST_PAGES = 100_000
"""Of a whole program; larger ones are looked at in larger pages."""


@dataclass(frozen=True)
class Region:
    """A range of bytes of an address space: the arena, a weight, an input or an output."""

    space: object
    begin: int
    end: int


class RecentPages:
    """A cache: the pages used last, up to a number of bytes."""

    def __init__(self, capacity: int, page: int):
        self.page = page
        self.most = capacity // page
        self.pages: OrderedDict[tuple[object, int], None] = OrderedDict()

    def use(self, region: Region) -> float:
        """Touch a region; the share of it that was there."""
        first, last = region.begin // self.page, max(region.begin, region.end - 1) // self.page
        there = 0
        for number in range(first, last + 1):
            key = (region.space, number)
            if key in self.pages:
                there += 1
                self.pages.move_to_end(key)
            else:
                self.pages[key] = None
                if len(self.pages) > self.most:
                    self.pages.popitem(last=False)
        return there / (last - first + 1)


def region_of(view: SSAValue, sizes: Mapping[str, int]) -> Region:
    """The bytes that a view reaches over."""
    begin, current = 0, view
    item = item_size(tile.view_type(view).dtype)
    while isinstance(current.owner, program.AliasOp):
        begin += _offset(current.owner.offset_dim, sizes) * item
        current = current.owner.source
    low = high = 0
    type = tile.view_type(view)
    for size, stride in zip(type.shape, type.strides, strict=True):
        reach = max(0, size.evaluate(sizes) - 1) * stride.evaluate(sizes)
        low, high = low + min(reach, 0), high + max(reach, 0)
    owner = current.owner
    space: object = root_of(view)
    if isinstance(owner, program.AllocOp) and owner.offset is not None:
        space, begin = "arena", begin + owner.offset.data[0].evaluate(sizes)
    elif isinstance(owner, program.WeightOp):
        space = owner.handle.data
    return Region(space, begin + low * item, begin + (high + 1) * item)


def _offset(dim: Dim, sizes: Mapping[str, int]) -> int:
    """An offset; in a loop, that of its first turn."""
    first = {name: 0 for name in dim.symbols() if name not in sizes}
    return dim.evaluate({**sizes, **first})


def resident_shares(
    launches: Sequence[Sequence[Region]], capacities: Sequence[int]
) -> list[list[tuple[float, ...]]]:
    """For each launch and each of its regions the share that caches of these sizes hold when
    it begins, in a call that follows another."""
    total = sum(r.end - r.begin for regions in launches for r in regions)
    page = max(PAGE, total // _MOST_PAGES // PAGE * PAGE)
    caches = [RecentPages(capacity, page) for capacity in capacities]
    shares: list[list[tuple[float, ...]]] = []
    for _ in range(2):
        shares = [
            [tuple(cache.use(region) for cache in caches) for region in regions]
            for regions in launches
        ]
    return shares
