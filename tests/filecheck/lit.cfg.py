"""lit's configuration: `lit tests/filecheck` runs the tools of the Python that runs lit."""

import os
import sys
import sysconfig

import lit.formats

config.name = "infini-ir"  # noqa: F821
config.test_format = lit.formats.ShTest(execute_external=False)  # noqa: F821
config.suffixes = [".mlir"]  # noqa: F821
config.test_source_root = os.path.dirname(__file__)  # noqa: F821
config.test_exec_root = os.path.join(  # noqa: F821
    os.environ.get("TMPDIR", "/tmp"), f"infini-ir-lit-{os.getuid()}"
)
scripts = [sysconfig.get_path("scripts"), os.path.dirname(sys.executable)]
path = os.pathsep.join([*dict.fromkeys(scripts), os.environ.get("PATH", "")])
config.environment["PATH"] = path  # noqa: F821
root = os.path.dirname(os.path.dirname(config.test_source_root))  # noqa: F821
config.environment["PYTHONPATH"] = root  # noqa: F821
