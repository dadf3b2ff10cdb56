"""Errors that a user can cause, and so can mend.

Every error that leaves the library because of something the user gave it (a file, a flag,
an array) is an `InfiniError`. Its message is one line that names the thing, the reason and
a way out; the command-line tools print just that line.
"""


class InfiniError(Exception):
    """Base of all errors caused by what the user gave."""


class ModelError(InfiniError):
    """A model file or graph that cannot be read, is not valid or is not supported."""


class InputError(InfiniError, ValueError):
    """An input of a compiled model with a wrong name, dtype, rank, size or layout."""


class SizeError(InputError):
    """A size that a model computes from its inputs and that cannot be."""


class ArtifactError(InfiniError):
    """A compiled artifact that cannot be written, read or run on this machine."""


class CompileError(InfiniError):
    """A valid model that the chosen target or option cannot compile."""


class OptionError(InfiniError, ValueError):
    """An unknown or contradictory option."""


class DeviceError(InfiniError):
    """A device's driver refused what a running model asked of it."""
