"""The element types of the system, by name, and their numpy counterparts.

The names are those used in IR text, artifacts and messages: `f32`, `bf16`, `i8` (signed),
`ui8` (unsigned), `i1` (bool) and so on. Sub-byte types are stored one element a byte, as
ml_dtypes stores them.
"""

from functools import cache

import numpy as np

NAMES = (
    "i1", "i4", "ui4", "i2", "ui2",
    "i8", "i16", "i32", "i64", "ui8", "ui16", "ui32", "ui64",
    "f16", "bf16", "f32", "f64",
    "f8E4M3FN", "f8E4M3FNUZ", "f8E5M2", "f8E5M2FNUZ", "f8E8M0FNU", "f4E2M1FN",
)  # fmt: skip

_NUMPY = {
    "i1": "bool",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "ui8": "uint8",
    "ui16": "uint16",
    "ui32": "uint32",
    "ui64": "uint64",
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
}

_ML_DTYPES = {
    "bf16": "bfloat16",
    "i4": "int4",
    "ui4": "uint4",
    "i2": "int2",
    "ui2": "uint2",
    "f8E4M3FN": "float8_e4m3fn",
    "f8E4M3FNUZ": "float8_e4m3fnuz",
    "f8E5M2": "float8_e5m2",
    "f8E5M2FNUZ": "float8_e5m2fnuz",
    "f8E8M0FNU": "float8_e8m0fnu",
    "f4E2M1FN": "float4_e2m1fn",
}


@cache
def numpy_dtype(name: str) -> np.dtype:
    """The numpy dtype that stores elements of the type called `name`.

    Raises `KeyError` for a name that is not in `NAMES`.
    """
    if name in _NUMPY:
        return np.dtype(_NUMPY[name])
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, _ML_DTYPES[name]))


@cache
def _names_by_numpy() -> dict[str, str]:
    names = {numpy: name for name, numpy in _NUMPY.items()}
    names.update({numpy: name for name, numpy in _ML_DTYPES.items()})
    return names


def dtype_name(dtype: np.dtype | type) -> str:
    """The name of a numpy dtype (of either byte order).

    Raises `KeyError` for a dtype the system does not have (complex, object, strings).
    """
    return _names_by_numpy()[np.dtype(dtype).name]


@cache
def item_size(name: str) -> int:
    """Bytes that one element takes in memory."""
    return numpy_dtype(name).itemsize


def is_float(name: str) -> bool:
    """Whether `name` is a floating-point type, storage-only ones included."""
    return name.startswith(("f", "bf"))


def is_unsigned(name: str) -> bool:
    """Whether `name` is an unsigned integer type."""
    return name.startswith("ui")


def is_integer(name: str) -> bool:
    """Whether `name` is an integer type; `i1` is a bool, not an integer."""
    return not is_float(name) and name != "i1"


STORAGE_ONLY = frozenset(
    {
        "i4",
        "ui4",
        "i2",
        "ui2",
        "f8E4M3FN",
        "f8E4M3FNUZ",
        "f8E5M2",
        "f8E5M2FNUZ",
        "f8E8M0FNU",
        "f4E2M1FN",
    }
)
"""Types that only store: cast before arithmetic."""
