"""One tile kernel as one LLVM function."""
