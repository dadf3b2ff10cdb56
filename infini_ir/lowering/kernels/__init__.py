"""Kernels, one file a family; importing a file registers its lowerings."""

from importlib import import_module

FAMILIES = (
    "elementwise",
    "views",
    "joining",
    "contraction",
    "rows",
    "convolution",
    "pool",
    "control",
    "gather",
    "scatter",
    "cumulative",
    "arg_reduce",
    "sort",
    "nonzero",
    "rng",
    "attention",
)
"""Files whose import registers lowerings; another family adds its name here."""


def register() -> None:
    """Make every lowering known."""
    for family in FAMILIES:
        import_module(f"{__name__}.{family}")
