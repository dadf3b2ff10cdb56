"""Models through launch plan, package, artifact and executor; kernels interpreted."""

import numpy as np
import pytest
from onnx import parser

from infini_ir.models.kernels import KernelCase, cases
from infini_ir.runtime import artifact
from infini_ir.runtime.launch_plan import LaunchPlan
from infini_ir.runtime.package import unpack
from infini_ir.targets.nvidia.folder import write_folder
from infini_ir.targets.nvidia.program import files
from infini_ir.utils.errors import ArtifactError, SizeError
from tests.devices.nvidia.interpreted import Interpreted

ONE_OF_EACH = list({case.kernel: case for case in reversed(cases(dtype="f32"))}.values())


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=lambda case: case.name)
def test_corpus(case: KernelCase):
    made = Interpreted()
    executor = made.executor(made.program(case))
    for seed in range(2):
        inputs = case.inputs(seed)
        given = executor.run(list(inputs.values()))
        made.driver.assert_clean()
        assert case.error(given, inputs) < 1


def model(text: str):
    return parser.parse_model(f'<ir_version: 10, opset_import: ["" : 23]>\n{text}')


def test_control_flow():
    made = Interpreted()
    source = model(
        """m (float[N] x, int64 n) => (float[N] y) {
            go = Constant<value = bool {1}>()
            y = Loop(n, go, x) <body = step (int64 i, bool c, float[N] v) => (bool d, float[N] w) {
                one = Constant<value = float {1}>()
                w = Add(v, one)
                top = ReduceMax<keepdims=0>(w)
                limit = Constant<value = float {10}>()
                d = Less(top, limit)
            }>
        }"""
    )
    executor = made.executor(made.program(source))
    x = np.array([1.0, 2.5, -3], np.float32)
    for turns, wanted in ((3, x + 3), (100, x + 8), (0, x)):
        np.testing.assert_array_equal(executor.run([x, np.int64(turns)])[0], wanted)
    made.driver.assert_clean()


def test_sizes_computed_by_the_model():
    made = Interpreted()
    source = model("m (float[M,N] x) => (int64[2,K] y) { y = NonZero(x) }")
    executor = made.executor(made.program(source))
    for shape in ((3, 5), (1, 1), (20, 7)):
        x = np.random.default_rng(0).integers(0, 2, shape).astype(np.float32)
        np.testing.assert_array_equal(executor.run([x])[0], np.stack(np.nonzero(x)))
    made.driver.assert_clean()


def test_a_time_loop_becomes_a_graph():
    made = Interpreted()
    rng = np.random.default_rng(0)
    source = model(
        """m (float[S,B,8] x) => (float[S,1,B,4] y) {
            y = LSTM<hidden_size=4>(x, w, r)
        }"""
    )
    from onnx import numpy_helper

    for name, shape in (("w", (1, 16, 8)), ("r", (1, 16, 4))):
        array = rng.standard_normal(shape).astype(np.float32)
        source.graph.initializer.append(numpy_helper.from_array(array, name))
    executor = made.executor(made.program(source))
    x = rng.standard_normal((5, 3, 8)).astype(np.float32)
    first, *rest = [executor.run([x])[0] for _ in range(3)]
    for again in rest:
        np.testing.assert_array_equal(again, first)
    assert made.driver.calls.get("cuGraphLaunch", 0) == 2
    made.driver.assert_clean()


def test_facts_are_checked():
    made = Interpreted()
    source = model(
        "m (float[N] x, int64 n) => (float[K] y) { e = Unsqueeze(n, z) y = Expand(x, e) }"
    )
    from onnx import numpy_helper

    source.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), "z"))
    executor = made.executor(made.program(source))
    x = np.ones(3, np.float32)
    assert executor.run([x, np.int64(3)])[0].shape == (3,)
    with pytest.raises(SizeError):
        executor.run([x, np.int64(2)])
    assert executor.run([x, np.int64(1)])[0].shape == (3,)
    made.driver.assert_clean()


# The artifact


def test_artifact(tmp_path):
    case = cases("layer-norm", "f32")[0]
    made = Interpreted()
    program = made.program(case)
    path = tmp_path / "model.infini"
    artifact.write(program, path)
    artifact.verify(path)
    loaded = artifact.read(path)
    assert loaded.metadata == program.metadata and loaded.metadata.form == "launch-plan"
    assert files(loaded) == files(program)
    names = [name.split("/")[0] for name in files(loaded)]
    assert {"kernels", "ptx", "cubin", "launch_plan.json"} <= set(names)
    inputs = case.inputs()
    given = made.executor(loaded).run(list(inputs.values()))
    assert case.error(given, inputs) < 1
    with pytest.raises(ArtifactError, match="this machine"):
        # No driver, or a device that this code is not for: refused when it runs, not before.
        from infini_ir.runtime.model import CompiledModel

        CompiledModel(loaded)(inputs)


def test_plan_is_text():
    made = Interpreted()
    source = model("m (float[M,N] x) => (int64[2,K] y) { y = NonZero(x) }")
    program = made.program(source)
    text = unpack(program.code.read())["launch_plan.json"].decode()
    assert LaunchPlan.from_text(text).to_text() == text
    with pytest.raises(ArtifactError, match="launch plan is not valid"):
        LaunchPlan.from_text(text.replace('"do": "bind"', '"do": "buy"'))


def test_folder(tmp_path):
    program = Interpreted().program(cases("softmax", "f32")[0])
    place = tmp_path / "out"
    for _ in range(2):
        write_folder(program, place)
        found = {str(p.relative_to(place)) for p in place.rglob("*") if p.is_file()}
        assert found == {*files(program), "model.infini"}
    assert artifact.read(place / "model.infini").metadata == program.metadata
    (place / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"other files, such as 'notes.txt'"):
        write_folder(program, place)
    write_folder(program, place, overwrite=True)
    assert (place / "notes.txt").read_text() == "mine"
