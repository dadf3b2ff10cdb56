"""LLVM IR as text, what scalars and vectors do in it, and the compiler behind it."""
