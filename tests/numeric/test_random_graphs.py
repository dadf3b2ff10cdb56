"""Random small graphs against onnxruntime, whatever the threads and the sizes known."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from random_graphs import RandomGraph
from tile_programs import all_threads

import infini_ir


@pytest.mark.parametrize("seed", range(40))
def test_random_graphs(seed: int):
    graph = RandomGraph(seed, symbolic=seed % 4 == 3)
    model = graph.model()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    wanted = dict(zip(graph.outputs, session.run(graph.outputs, graph.inputs), strict=True))
    with all_threads(5, all_kernels=seed % 2 == 0):
        given = [infini_ir.compile(model, threads=t)(graph.inputs) for t in (1, 2, 5)]
    rough = infini_ir.compile(model, threads=2, precision="bf16")(graph.inputs)
    for name, right in wanted.items():
        scale = np.abs(right[np.isfinite(right)]).max(initial=1)
        np.testing.assert_allclose(given[0][name], right, 2e-4, 2e-4 * scale, err_msg=name)
        for other in given[1:]:
            np.testing.assert_array_equal(other[name], given[0][name])
        # Steps such as Floor make of a small difference a large one.
        assert rough[name].shape == right.shape and rough[name].dtype == right.dtype
