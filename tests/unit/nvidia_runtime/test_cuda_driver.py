"""The prototypes of the driver's functions, against the toolkit's header where it is here."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from infini_ir.runtime.cuda import blas
from infini_ir.runtime.cuda.device import runs_on
from infini_ir.runtime.cuda.driver import SIGNATURES

FOLDERS = [Path("/usr/local/cuda/include"), Path("/usr/include")]


def toolkit(header: str) -> Path | None:
    return next((folder for folder in FOLDERS if (folder / header).exists()), None)


def is_pointer(kind) -> bool:
    return kind is ctypes.c_void_p or kind is ctypes.c_char_p or hasattr(kind, "contents")


TEMPLATE = """
#include <{header}>
#include <type_traits>
template <class R, class... A> constexpr bool same(R (*)(A...), int n, const int* sizes) {{
  int found[] = {{0, (std::is_pointer<A>::value ? -1 : (int)sizeof(A))...}};
  if (n != (int)sizeof...(A)) return false;
  for (int i = 0; i < n; i++) if (found[i + 1] != sizes[i]) return false;
  return true;
}}
"""


@pytest.mark.parametrize(
    ("header", "table"),
    [("cuda.h", SIGNATURES), ("cublas_v2.h", blas.SIGNATURES)],
)
def test_prototypes(tmp_path, header, table):
    """Number, size and kind (pointer or number) of each parameter."""
    folder = toolkit(header)
    if folder is None or shutil.which("g++") is None:
        pytest.skip(f"{header} is not installed")
    text = TEMPLATE.format(header=header)
    for name, arguments in table.items():
        sizes = [-1 if is_pointer(a) else ctypes.sizeof(a) for a in arguments]
        text += f"constexpr int s_{name}[] = {{{', '.join(map(str, sizes)) or 0}}};\n"
        text += f'static_assert(same(&{name}, {len(sizes)}, s_{name}), "{name}");\n'
    source = tmp_path / "prototypes.cpp"
    source.write_text(text)
    command = ["g++", "-std=c++17", "-fsyntax-only", f"-I{folder}", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_which_device_runs_what():
    assert runs_on("sm_80", (8, 0)) and runs_on("sm_80", (8, 9))
    assert not runs_on("sm_89", (8, 6)) and not runs_on("sm_80", (9, 0))
    assert runs_on("sm_90a", (9, 0)) and not runs_on("sm_100a", (10, 3))
    assert runs_on("sm_100", (10, 3)) and not runs_on("x86-64", (9, 0))
