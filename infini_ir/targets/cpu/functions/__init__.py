"""Functions of f32 by instructions of the processor, on whole vectors."""
