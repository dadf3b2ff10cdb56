"""ONNX operators against onnxruntime: old versions, modes and sizes without a backend case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from infini_ir.interpreters.graph import interpret
from infini_ir.utils.errors import InputError
from tests.numeric.onnx_import import import_for, interpret_model, main_of

onnxruntime = pytest.importorskip("onnxruntime")
errors = onnxruntime.capi.onnxruntime_pybind11_state
REFUSALS = (errors.Fail, errors.InvalidArgument, errors.RuntimeException)
ML = "ai.onnx.ml"


@dataclass
class Case:
    """One node on arrays; arrays in `fixed` (by input position) are initializers."""

    op: str
    inputs: list[Any]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 21
    outputs: int = 1
    domain: str = ""
    fixed: tuple[int, ...] = ()
    tolerance: float = 1e-5

    def model(self, symbolic: bool) -> onnx.ModelProto:
        names = ["" if x is None else f"x{i}" for i, x in enumerate(self.inputs)]
        results = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.op, names, results, domain=self.domain, **self.attributes)
        infos, stored = [], []
        for i, (name, array) in enumerate(zip(names, self.inputs, strict=True)):
            if not name:
                continue
            if i in self.fixed:
                stored.append(onnx.numpy_helper.from_array(array, name))
                continue
            shape = [
                f"{name}_{a}" if symbolic and s != 1 else s for a, s in enumerate(array.shape)
            ]
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            infos.append(helper.make_tensor_value_info(name, kind, shape))
        outs = [onnx.ValueInfoProto(name=name) for name in results]
        graph = helper.make_graph([node], self.op, infos, outs, stored)
        imports = [helper.make_opsetid("", 21 if self.domain else self.opset)]
        if self.domain:
            imports.append(helper.make_opsetid(self.domain, self.opset))
        return helper.make_model(graph, opset_imports=imports, ir_version=8)

    def call(self) -> dict[str, np.ndarray]:
        """The inputs that a call gives."""
        return {
            f"x{i}": x
            for i, x in enumerate(self.inputs)
            if x is not None and i not in self.fixed
        }

    def expected(self) -> list[np.ndarray]:
        """What onnxruntime gives."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        model = self.model(False).SerializeToString()
        session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        return session.run(None, self.call())

    def compare(self, given: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> None:
        for mine, theirs in zip(given, wanted, strict=True):
            assert mine.shape == theirs.shape
            assert mine.dtype == theirs.dtype
            np.testing.assert_allclose(
                mine, theirs, rtol=self.tolerance, atol=self.tolerance, equal_nan=True
            )

    def resized(self, axis: int, more: int) -> Case:
        """The case with `more` elements along an axis of the first input."""
        x = self.inputs[0]
        positions = np.arange(x.shape[axis] + more) % x.shape[axis]
        return replace(self, inputs=[np.take(x, positions, axis), *self.inputs[1:]])


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def integers(*shape: int, low: int = 0, high: int = 10, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, shape)


def longs(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


MOVES = [
    Case("Reshape", [floats(2, 3, 4), longs(0, -1, 2)], opset=7),
    Case("Reshape", [floats(2, 3, 4), longs(0, -1, 2)], opset=7, fixed=(1,)),
    Case("Reshape", [floats(2, 6, 4), longs(-1, 8)], fixed=(1,)),
    Case("Squeeze", [floats(1, 3, 1, 4)], {"axes": [0, -2]}, opset=11),
    Case("Unsqueeze", [floats(3, 4)], {"axes": [0, -1]}, opset=11),
    Case("Flatten", [floats(2, 3, 4)], {"axis": -1}),
    Case("Expand", [floats(3, 1), longs(2, 1, 6)]),
    Case("Tile", [floats(2, 1, 3), longs(2, 3, 1)], fixed=(1,)),
    Case("Tile", [floats(2, 1, 3), longs(2, 3, 1)]),
    Case("Concat", [floats(2, 3), floats(2, 5)], {"axis": -1}),
    Case("Split", [floats(7, 2)], {"axis": 0, "split": [2, 5]}, opset=11, outputs=2),
    Case("Split", [floats(7, 2), longs(2, 5)], {"axis": 0}, outputs=2),
    Case("Split", [floats(7, 2)], {"axis": 0, "num_outputs": 3}, outputs=3),
    Case("Slice", [floats(5, 6)], {"starts": [1, -3], "ends": [-1, 100]}, opset=9),
    Case("Slice", [floats(5, 6), longs(4, -1), longs(0, -100), longs(0, 1), longs(-2, -1)]),
    Case("Slice", [floats(5, 6), longs(-100), longs(100), longs(1), longs(4)]),
    Case(
        "Slice",
        [floats(5, 6), longs(4, -1), longs(0, -(2**63)), longs(0, 1), longs(-2, -1)],
        fixed=(1, 2, 3, 4),
    ),
    Case("Slice", [floats(5, 6), longs(-2), longs(2**63 - 1), longs(0)], fixed=(1, 2, 3)),
    Case("Slice", [floats(5, 6), longs(1), longs(-1), longs(0)], fixed=(1, 2, 3)),
    Case("Slice", [floats(5, 6), longs(3), longs(1)], fixed=(1, 2)),
    Case("Pad", [floats(2, 3)], {"pads": [0, 2, 1, -1], "value": 1.5}, opset=7),
    Case("Pad", [floats(3, 4)], {"pads": [1, 2, 0, 3], "mode": "reflect"}, opset=9),
    Case("Pad", [floats(3, 4), longs(1, 2, 0, 3)], {"mode": "edge"}, opset=13),
    Case("Pad", [floats(3, 4), longs(1, -1, 2, 0), np.float32(2)], opset=13, fixed=(1, 2)),
    Case("Pad", [floats(3, 4), longs(3, 2), None, longs(-1)], {"mode": "wrap"}, fixed=(1, 3)),
    Case("Trilu", [floats(2, 3, 5), np.array(-1)], {"upper": 0}),
    Case("DepthToSpace", [floats(2, 12, 2, 3)], {"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", [floats(2, 3, 4, 6)], {"blocksize": 2}),
    Case(
        "ReverseSequence",
        [floats(4, 3, 2), longs(4, 1, 3)],
        {"time_axis": 0, "batch_axis": 1},
    ),
    Case("OneHot", [integers(2, 3, low=-6, high=6), np.array([5.0], np.float32), floats(2)]),
    Case("Gather", [floats(3, 4), integers(2, 2, low=-4, high=4)], {"axis": -1}),
    Case("GatherElements", [floats(3, 4), integers(3, 2, low=-4, high=4)], {"axis": 1}),
    Case("GatherElements", [floats(3, 4), integers(2, 4, low=-3, high=3)], {"axis": 0}),
    Case("GatherND", [floats(2, 3, 4), integers(2, 3, 1, low=-3, high=3)], {"batch_dims": 1}),
    Case(
        "ScatterElements",
        [floats(3, 4), integers(3, 2, high=4), floats(3, 2, seed=1)],
        {"axis": 1, "reduction": "add"},
    ),
    Case(
        "ScatterND",
        [floats(4, 3), integers(5, 1, low=-4, high=4), floats(5, 3, seed=2)],
        {"reduction": "max"},
    ),
    Case("NonZero", [integers(3, 4, high=2)]),
    Case("Compress", [floats(3, 4), np.array([True, False, True])], {"axis": 1}),
    Case("Unique", [integers(20, high=6)], {"sorted": 0}, outputs=4),
    Case("Unique", [integers(20, high=6)], outputs=4),
]

WINDOWS = [
    Case("Conv", [floats(2, 4, 9, 8), floats(6, 2, 3, 2), floats(6)],
         {"group": 2, "strides": [2, 1], "pads": [1, 0, 2, 1], "dilations": [1, 2]},
         fixed=(1, 2)),
    Case("Conv", [floats(1, 3, 9), floats(2, 3, 4)],
         {"auto_pad": "SAME_LOWER", "strides": [2]}, fixed=(1,)),
    Case("Conv", [floats(1, 2, 4, 5, 6), floats(3, 2, 2, 3, 2)], {"auto_pad": "SAME_UPPER"},
         fixed=(1,)),
    Case("ConvTranspose", [floats(2, 4, 5, 4), floats(4, 3, 3, 2), floats(6)],
         {"group": 2, "strides": [3, 2], "pads": [1, 0, 2, 1], "dilations": [2, 1],
          "output_padding": [1, 1]}, fixed=(1, 2)),
    Case("ConvTranspose", [floats(1, 2, 5), floats(2, 2, 3)],
         {"auto_pad": "SAME_UPPER", "strides": [2]}, fixed=(1,)),
    Case("ConvTranspose", [floats(1, 2, 5), floats(2, 2, 3)],
         {"output_shape": [10], "strides": [2]}, fixed=(1,)),
    Case("MaxPool", [floats(2, 3, 9, 8)],
         {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1], "ceil_mode": 1},
         outputs=2),
    Case("MaxPool", [floats(2, 3, 9, 8)],
         {"kernel_shape": [3, 2], "dilations": [2, 3], "storage_order": 1}, outputs=2),
    Case("MaxPool", [floats(1, 2, 7)], {"kernel_shape": [2], "auto_pad": "SAME_LOWER",
                                       "strides": [2]}),
    Case("AveragePool", [floats(2, 3, 9, 8)],
         {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 1, 0, 1],
          "count_include_pad": 1}),
    Case("AveragePool", [floats(2, 3, 9, 8)],
         {"kernel_shape": [3, 3], "strides": [2, 3], "pads": [1, 1, 1, 1]}, opset=7),
    Case("AveragePool", [floats(2, 3, 10, 8)],
         {"kernel_shape": [3, 3], "strides": [2, 3], "ceil_mode": 1}, opset=11),
    Case("LpPool", [floats(2, 3, 9, 8)],
         {"kernel_shape": [3, 3], "strides": [2, 2], "p": 3, "pads": [1, 1, 1, 1]}),
    Case("GlobalLpPool", [floats(2, 3, 4, 5)], {"p": 3}),
    Case("GlobalAveragePool", [floats(2, 3, 4, 5)]),
    Case("LRN", [floats(2, 7, 3, 4)], {"size": 5, "alpha": 0.1, "beta": 0.5, "bias": 2.0}),
    Case("MaxRoiPool", [floats(2, 3, 9, 8), np.array([[0, 0, 0, 7, 6], [1, 3, 2, 5, 8],
                                                    [1, 1, 1, 1, 1]], np.float32)],
         {"pooled_shape": [3, 2], "spatial_scale": 0.9}),
    Case("RoiAlign", [floats(2, 3, 9, 8), np.array([[0, 0, 7, 6], [3, 2, 5, 8]], np.float32),
                      longs(1, 0)],
         {"output_height": 3, "output_width": 2, "sampling_ratio": 2, "spatial_scale": 0.8},
         opset=10),
    Case("RoiAlign", [floats(2, 3, 9, 8), np.array([[0, 0, 7, 6], [3, 2, 5, 8]], np.float32),
                      longs(1, 0)],
         {"output_height": 3, "output_width": 2, "sampling_ratio": 0, "mode": "avg"}),
]  # fmt: skip

NORMS = [
    Case("BatchNormalization", [floats(2, 3, 4), floats(3), floats(3, seed=1),
                                floats(3, seed=2), np.abs(floats(3, seed=3))], opset=7),
    Case("BatchNormalization", [floats(2, 3, 4), floats(3), floats(3, seed=1),
                                floats(3, seed=2), np.abs(floats(3, seed=3))],
         {"epsilon": 0.1}, fixed=(1, 2, 3, 4)),
    Case("InstanceNormalization", [floats(2, 3, 4, 5), floats(3), floats(3, seed=1)]),
    Case("GroupNormalization", [floats(2, 4, 3, 5), floats(4), floats(4, seed=1)],
         {"num_groups": 2}, tolerance=1e-4),
    Case("LayerNormalization", [floats(2, 3, 4), floats(4), floats(4, seed=1)], outputs=3),
    Case("LayerNormalization", [floats(2, 3, 4), floats(3, 4), floats(3, 4, seed=1)],
         {"axis": 1}),
    Case("LpNormalization", [floats(2, 3, 4)], {"axis": 1, "p": 1}),
    Case("MeanVarianceNormalization", [floats(2, 3, 4, 5)], {"axes": [0, 2]}, tolerance=1e-4),
]  # fmt: skip


def resize(opset: int, scales: list[float], **attributes: Any) -> Case:
    inputs: list[Any] = [floats(1, 2, 7, 5), np.array(scales, np.float32)]
    if opset >= 11:
        inputs.insert(1, np.array([], np.float32))
    return Case("Resize", inputs, attributes, opset, fixed=(1, 2), tolerance=1e-4)


IMAGES = [
    Case("Upsample", [floats(1, 2, 3, 4)], {"scales": [1.0, 1.0, 2.0, 3.0]}, opset=7),
    Case("Upsample", [floats(1, 2, 3, 4), np.array([1, 1, 2, 2], np.float32)],
         {"mode": "linear"}, opset=9, fixed=(1,)),
    resize(10, [1, 1, 0.6, 0.5], mode="nearest"),
    resize(10, [1, 1, 2.0, 1.7], mode="linear"),
    resize(11, [1, 1, 2.0, 3.0], mode="cubic", coordinate_transformation_mode="align_corners"),
    resize(13, [1, 1, 2, 0.4], mode="nearest", nearest_mode="round_prefer_ceil"),
    resize(13, [1, 1, 2, 0.4], mode="linear",
           coordinate_transformation_mode="pytorch_half_pixel"),
    resize(13, [1, 1, 2, 3], mode="nearest"),
    resize(13, [1, 1, 2, 3], mode="nearest", nearest_mode="floor",
           coordinate_transformation_mode="asymmetric"),
    resize(13, [1, 1, 4, 3], mode="nearest", nearest_mode="ceil"),
    resize(19, [1, 1, 0.4, 0.3], mode="cubic", antialias=1),
    resize(19, [1, 1, 0.4, 3.3], mode="linear",
           coordinate_transformation_mode="half_pixel_symmetric"),
    Case("Resize", [floats(1, 2, 7, 5), None, None, longs(1, 2, 3, 9)], {"mode": "cubic",
         "exclude_outside": 1}, opset=18, tolerance=1e-4),
    Case("GridSample", [floats(2, 3, 5, 4), 1.5 * floats(2, 6, 7, 2, seed=1)],
         {"mode": "bilinear", "padding_mode": "reflection"}, opset=16, tolerance=1e-4),
    Case("GridSample", [floats(2, 3, 5, 4), 1.5 * floats(2, 6, 7, 2, seed=1)],
         {"mode": "bicubic", "padding_mode": "border", "align_corners": 1}, opset=16,
         tolerance=1e-4),
    Case("NonMaxSuppression", [np.abs(floats(2, 20, 4)), floats(2, 3, 20), longs(5),
                               np.array([0.2], np.float32), np.array([0.1], np.float32)]),
    Case("AffineGrid", [floats(2, 2, 3), longs(2, 3, 5, 6)], {"align_corners": 1},
         tolerance=1e-4),
]  # fmt: skip

SIGNALS = [
    Case("DFT", [floats(2, 9, 1), longs(7).reshape(())], {"onesided": 1}, tolerance=1e-4),
    Case("DFT", [floats(2, 9, 2)], {"inverse": 1}, tolerance=1e-4),
    Case("DFT", [floats(2, 9, 2)], {"axis": 1}, opset=17, tolerance=1e-4),
    Case("STFT", [floats(2, 20, 1), longs(3).reshape(()), floats(8)], tolerance=1e-4),
    Case("HannWindow", [longs(9).reshape(())], {"periodic": 0}),
    Case("HammingWindow", [longs(9).reshape(())]),
    Case("BlackmanWindow", [longs(9).reshape(())]),
]  # fmt: skip

TREE = {
    "nodes_treeids": [0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2],
    "nodes_nodeids": [0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2],
    "nodes_featureids": [0, 0, 0, 1, 0, 2, 0, 0, 2, 0, 0],
    "nodes_values": [0.1, 0.0, 0.0, -0.2, 0.0, 0.3, 0.0, 0.0, 0.5, 0.0, 0.0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "BRANCH_LEQ", "LEAF",
                    "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 0, 0, 1, 0, 3, 0, 0, 1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0, 2, 0, 4, 0, 0, 2, 0, 0],
    "nodes_missing_value_tracks_true": [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
}  # fmt: skip


def votes(kind: str) -> dict[str, Any]:
    """Leaves that vote: each tree for its own class or target, so that all get a vote."""
    return TREE | {
        f"{kind}_treeids": [0, 0, 1, 1, 1, 2, 2],
        f"{kind}_nodeids": [1, 2, 1, 3, 4, 1, 2],
        f"{kind}_ids": [0, 0, 1, 1, 1, 2, 2],
        f"{kind}_weights": [0.5, -1.0, 0.25, 2.0, -0.75, 1.25, 0.1],
    }


NANS = np.where(floats(9, 3, seed=4) > 1, np.float32(np.nan), floats(9, 3))

CLASSICAL = [
    Case("Binarizer", [floats(3, 4)], {"threshold": 0.3}),
    Case("LabelEncoder", [integers(3, 4, high=5)],
         {"keys_int64s": [1, 2, 3, 0], "values_floats": [0.5, 1.5, 2.5, 3.5],
          "default_float": -7.0}, opset=2),
    Case("LabelEncoder", [NANS], {"keys_floats": [float("nan"), 0.0],
                                  "values_int64s": [4, 5]}, opset=4),
    Case("OneHotEncoder", [integers(3, 4, high=5)], {"cats_int64s": [4, 0, 2], "zeros": 1}),
    Case("Imputer", [NANS], {"imputed_value_floats": [1.0, 2.0, 3.0],
                             "replaced_value_float": float("nan")}),
    Case("FeatureVectorizer", [floats(3, 2), floats(3, 4)], {"inputdimensions": [2, 4]}),
    Case("Scaler", [floats(3, 2)], {"offset": [1.0, 2.0], "scale": [0.5, 3.0]}),
    Case("Normalizer", [floats(3, 4)], {"norm": "L1"}),
    Case("Normalizer", [floats(3, 4)], {"norm": "L2"}),
    Case("LinearRegressor", [floats(5, 3)],
         {"targets": 2, "coefficients": floats(6).tolist(), "intercepts": [0.5, -1.0]}),
    *(Case("LinearClassifier", [floats(5, 3)],
           {"classlabels_ints": [4, 7, 9], "coefficients": floats(9).tolist(),
            "intercepts": [0.5, -1.0, 0.0], "post_transform": post}, outputs=2)
      for post in ("NONE", "SOFTMAX", "LOGISTIC")),
    Case("SVMRegressor", [floats(5, 3)],
         {"coefficients": [0.5, -1.0], "support_vectors": floats(6, seed=1).tolist(),
          "n_supports": 2, "rho": [0.3], "kernel_type": "RBF",
          "kernel_params": [0.4, 0.0, 3.0]}),
    Case("SVMRegressor", [floats(5, 3)],
         {"coefficients": [0.5, -1.0], "support_vectors": floats(6, seed=1).tolist(),
          "n_supports": 2, "rho": [0.3], "kernel_type": "POLY",
          "kernel_params": [0.4, 0.5, 3.0]}),
    *(Case("TreeEnsembleRegressor", [NANS],
           votes("target") | {"n_targets": 3, "aggregate_function": how,
                                               "base_values": [0.1, 0.2, 0.3]}, opset=3)
      for how in ("SUM", "AVERAGE", "MIN", "MAX")),
    *(Case("TreeEnsembleClassifier", [NANS],
           votes("class") | {"classlabels_int64s": [3, 5, 8],
                                              "post_transform": post}, opset=3, outputs=2)
      for post in ("NONE", "SOFTMAX", "LOGISTIC")),
]  # fmt: skip
for _case in CLASSICAL:
    _case.domain = ML
    _case.opset = _case.opset if _case.opset < 21 else 1

CASES = [*MOVES, *WINDOWS, *NORMS, *IMAGES, *SIGNALS, *CLASSICAL]


names = [f"{case.op}-{i}" for i, case in enumerate(CASES)]


@pytest.mark.parametrize("symbolic", [False, True], ids=["known", "symbolic"])
@pytest.mark.parametrize("case", CASES, ids=names)
def test_agrees_with_onnxruntime(case: Case, symbolic: bool) -> None:
    given = interpret_model(case.model(symbolic), list(case.call().values()))
    case.compare(given, case.expected())


@pytest.mark.parametrize("case", CASES, ids=names)
def test_one_import_serves_other_sizes(case: Case) -> None:
    imported = import_for(case.model(symbolic=True), list(case.call().values()))
    function = main_of(imported.module)
    assert function.arg_attrs is not None
    order = [attributes.data["graph.name"].data for attributes in function.arg_attrs]
    shape = case.inputs[0].shape
    for axis, more in product(range(len(shape)), (1, -1)):
        other = case.resized(axis, more) if shape[axis] > 1 else case
        try:
            wanted = other.expected()
            arguments = [other.call()[name] for name in order]
            given = interpret(imported.module, arguments, imported.ctx)
        except (InputError, RuntimeError, *REFUSALS):
            continue  # Not a size that the operator, or this import, takes.
        case.compare(given, wanted)
