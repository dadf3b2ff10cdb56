"""The reference interpreter of the graph dialect, in numpy: for tests and checking only."""

from infini_ir.interpreters.graph.run import evaluate_op, interpret
from infini_ir.interpreters.graph.scope import Scope
