"""What stops or changes the import of an ONNX model."""

from __future__ import annotations

from collections.abc import Iterable

from infini_ir.utils.errors import ModelError


class NeedsValue(Exception):
    """An operator needs, while importing, values that only a call can give.

    Caught by the importer, which goes on to find out what else is needed.
    """

    def __init__(self, values: Iterable[str], shapes: Iterable[str] = ()) -> None:
        self.values = frozenset(values)
        """Model inputs whose values decide."""
        self.shapes = frozenset(shapes)
        """Model inputs whose symbolic sizes decide."""
        super().__init__(", ".join(sorted(self.values | self.shapes)))


class SpecializationNeeded(ModelError):
    """The model can only be compiled for given values (or sizes) of some of its inputs.

    Import it again with `inputs={name: array, ...}` (or `{name: shape}`) for these names.
    """

    def __init__(
        self, model: str, names: Iterable[str], shapes: Iterable[str] = (), reason: str = ""
    ) -> None:
        self.names = tuple(sorted(names))
        """Inputs whose values must be fixed."""
        self.shapes = tuple(sorted(set(shapes) - set(self.names)))
        """Inputs whose sizes must be fixed."""
        parts = [f"the values of {_quoted(self.names)}"] if self.names else []
        if self.shapes:
            parts.append(f"the sizes of {_quoted(self.shapes)}")
        why = f" ({reason})" if reason else ""
        super().__init__(
            f"{model}: {' and '.join(parts)} must be known when compiling{why}; "
            "give them with inputs={name: array or shape}"
        )


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"input '{name}'" for name in names)
