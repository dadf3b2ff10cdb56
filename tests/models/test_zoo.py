"""The models that tests and benchmarks share, and the demo."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from infini_ir import demo
from infini_ir.models.light import LIGHT_MODELS, light_inputs, light_model
from infini_ir.models.quantized import FORMS, quantized
from infini_ir.models.torch_zoo import TORCH_MODELS, exported, missing_package
from infini_ir.models.zoo import choose, measured, models
from infini_ir.utils.errors import ModelError, OptionError


def test_light_weights_come_from_the_seed():
    first, again, other = (light_model("squeezenet", seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", ("densenet121", "inception_v2", "shufflenet"))
def test_light_networks_have_one_input_and_weights_that_vary(name: str):
    graph = light_model(name).graph
    assert [i.name for i in graph.input] == list(light_inputs(name))
    assert not any(node.op_type == "ConstantOfShape" for node in graph.node)
    for weight in graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size > 1:
            assert values.std() > 0, weight.name


def test_unknown_names_are_refused():
    with pytest.raises(ModelError, match="squeezenet"):
        light_model("squeeze")
    with pytest.raises(OptionError, match="resnet50"):
        exported("resnet")
    with pytest.raises(OptionError, match="light_vgg19"):
        choose("mlp,vgg")


def test_names():
    assert len(models()) == len(LIGHT_MODELS) + len(TORCH_MODELS) + 3
    assert [model.name for model in choose("mlp, light_vgg19")] == ["mlp", "light_vgg19"]


def test_masks_end_in_zeros():
    arrays = TORCH_MODELS["minilm"].arrays(3, {"batch": 5, "sequence": 9})
    mask = arrays["attention_mask"]
    assert mask.shape == arrays["input_ids"].shape == (5, 9)
    assert (np.diff(mask, axis=1) <= 0).all() and (mask[:, 0] == 1).all()


@pytest.mark.slow
def test_demo(capsys: pytest.CaptureFixture[str]):
    assert demo.main() == 0
    assert "largest error" in capsys.readouterr().out


def test_demo_fails_when_the_output_is_wrong(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demo, "TOLERANCE", 0.0)
    monkeypatch.setattr(demo, "CALLS", 1)
    assert demo.main() == 1


def test_batches_and_quantised_networks_can_be_measured():
    names = set(measured()) - set(models())
    assert {"resnet50_batch8", "resnet50_qdq", "bert_qoperator"} <= names
    assert measured()["mobilenetv2_batch8"].inputs()["image"].shape == (8, 3, 224, 224)
    with pytest.raises(OptionError, match="resnet50"):
        quantized("gpt2")


@pytest.mark.skipif(missing_package("mlp") is not None, reason="PyTorch is not installed")
@pytest.mark.parametrize("form", FORMS)
def test_quantised_network(form: str):
    pytest.importorskip("onnxruntime")
    graph = onnx.load(quantized("mobilenetv2", form, small=True)).graph
    kinds = {node.op_type for node in graph.node}
    assert ("QLinearConv" if form == "qoperator" else "DequantizeLinear") in kinds
