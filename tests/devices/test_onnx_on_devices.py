"""Cases of the ONNX suite, and models with odd shapes, types and interfaces, on the models of
accelerators. `onnx_suite` runs all of the suite's cases."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from onnx_cases import compare
from onnx_import import interpret_model

from tests.devices.odd_models import MODELS
from tests.devices.onnx_suite import RUNS, run_case

NEED = {"cuda-c": "g++"}
"""Programs that a target's model is built with."""

CASES = (
    "test_argmax_negative_axis_keepdims_example",
    "test_attention_local_window_ext_cache_rank2_mask_expanded",
    "test_bitshift_right_uint16",
    "test_cast_FLOAT_to_FLOAT8E4M3FNUZ",
    "test_cast_FLOAT16_to_INT4",
    "test_col2im_dilations",
    "test_compress_1",
    "test_convtranspose_dilations",
    "test_cumsum_1d_reverse_exclusive",
    "test_deform_conv_with_multiple_offset_groups",
    "test_det_nd",
    "test_einsum_batch_diagonal",
    "test_gru_batchwise",
    "test_if",
    "test_loop11",
    "test_lstm_with_peepholes",
    "test_maxunpool_export_with_output_shape",
    "test_mod_mixed_sign_int8",
    "test_nllloss_NCd1d2d3_none_no_weight_negative_ii",
    "test_nonmaxsuppression_two_classes",
    "test_nonzero_example",
    "test_onehot_negative_indices",
    "test_qlinearmatmul_2D_uint8_float16",
    "test_reduce_log_sum_exp_empty_set",
    "test_reduce_min_empty_set",
    "test_roialign_aligned_true",
    "test_scatternd_multiply",
    "test_sequence_map_add_1_sequence_1_tensor",
    "test_stft_with_window",
    "test_top_k_uint64",
    "test_tril_neg",
    "test_unique_sorted_with_axis_3d",
)

ODD = (
    "empty-matmul",
    "empty-matmul_known",
    "empty-softmax",
    "empty-cumsum",
    "empty-ReduceMax_unknown",
    "ones-top_k",
    "scalars-compare",
    "scalars-if",
    "interface-no_inputs",
    "interface-input_twice",
    "interface-result_twice",
    "interface-keywords",
    "types-arithmetic-uint64",
    "types-arg_max-float",
    "types-casts-float",
    "types-matmul-double",
    "types-reduce-int16",
    "types-mod-uint8",
)


@pytest.fixture(params=list(RUNS))
def target(request: pytest.FixtureRequest) -> str:
    needed = NEED.get(request.param)
    if needed is not None and shutil.which(needed) is None:
        pytest.skip(f"no {needed}")
    return request.param


@pytest.mark.parametrize("name", CASES)
def test_case(target: str, name: str) -> None:
    outcome = run_case(target, name)
    assert outcome.status == "pass", outcome.reason


@pytest.mark.parametrize("name", ODD)
def test_odd_model(target: str, name: str) -> None:
    model = MODELS[name].model()
    for inputs in MODELS[name].inputs:
        with np.errstate(all="ignore"):
            wanted = interpret_model(model, list(inputs))
        compare(RUNS[target](model, list(inputs)), wanted)
