"""The graph dialect: pure tensor values with symbolic shapes, no storage, no device."""

from xdsl.ir import Dialect

from infini_ir.dialects.dims import DimsAttr, FactsAttr
from infini_ir.dialects.fields import read_directly
from infini_ir.dialects.graph.attention import *  # noqa: F403
from infini_ir.dialects.graph.attention import ATTENTION_OPS
from infini_ir.dialects.graph.base import GraphOp, ints, ints_of, type_of
from infini_ir.dialects.graph.composites import *  # noqa: F403
from infini_ir.dialects.graph.composites import COMPOSITE_OPS
from infini_ir.dialects.graph.control import *  # noqa: F403
from infini_ir.dialects.graph.control import (
    CONTROL_OPS,
    FusionOp,
    IfOp,
    ScanOp,
    WhileOp,
    YieldOp,
    yielded,
)
from infini_ir.dialects.graph.elementwise import *  # noqa: F403
from infini_ir.dialects.graph.elementwise import (
    BINARY_OPS,
    ELEMENTWISE_OPS,
    UNARY_OPS,
    PredicateAttr,
    RoundingAttr,
)
from infini_ir.dialects.graph.indexing import *  # noqa: F403
from infini_ir.dialects.graph.indexing import INDEXING_ATTRIBUTES, INDEXING_OPS
from infini_ir.dialects.graph.quantization import *  # noqa: F403
from infini_ir.dialects.graph.quantization import QUANTIZATION_OPS
from infini_ir.dialects.graph.reducing import *  # noqa: F403
from infini_ir.dialects.graph.reducing import REDUCING_ATTRIBUTES, REDUCING_OPS
from infini_ir.dialects.graph.shaping import *  # noqa: F403
from infini_ir.dialects.graph.shaping import SHAPING_ATTRIBUTES, SHAPING_OPS
from infini_ir.dialects.graph.types import (
    TensorType,
    element_name,
    element_type,
    is_tensor,
    tensor_type,
)
from infini_ir.dialects.graph.windows import *  # noqa: F403
from infini_ir.dialects.graph.windows import WINDOW_ATTRIBUTES, WINDOW_OPS

Graph = Dialect(
    "graph",
    [
        *ELEMENTWISE_OPS,
        *SHAPING_OPS,
        *INDEXING_OPS,
        *REDUCING_OPS,
        *COMPOSITE_OPS,
        *ATTENTION_OPS,
        *WINDOW_OPS,
        *QUANTIZATION_OPS,
        *CONTROL_OPS,
    ],
    [
        TensorType,
        PredicateAttr,
        RoundingAttr,
        *SHAPING_ATTRIBUTES,
        *INDEXING_ATTRIBUTES,
        *REDUCING_ATTRIBUTES,
        *WINDOW_ATTRIBUTES,
    ],
)
read_directly(Graph.operations)
