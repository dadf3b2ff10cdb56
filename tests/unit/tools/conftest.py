"""A folder with a tiny model, and objects cached for the tests alone."""

import pytest
from tool_models import mlp_model, save


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Leave the user's cache alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFINI_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def mlp(tmp_path_factory) -> str:
    """The path of the model `y = relu(x w + b)`."""
    return save(mlp_model(), tmp_path_factory.mktemp("models") / "mlp.onnx")


@pytest.fixture(scope="session")
def compiled(mlp, tmp_path_factory) -> str:
    """The path of the compiled model."""
    import infini_ir

    path = tmp_path_factory.mktemp("compiled") / "mlp.infini"
    infini_ir.compile(mlp).save(path)
    return str(path)
