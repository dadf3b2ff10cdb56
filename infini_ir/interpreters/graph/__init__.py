"""The reference interpreter of the graph dialect, in numpy: for tests and checking only."""

from infini_ir.interpreters.graph.run import evaluate_op, find_function, interpret
from infini_ir.interpreters.graph.scope import Scope
from infini_ir.interpreters.graph.shaping import holds
