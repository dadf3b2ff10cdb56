"""The page of `infini explain --html`: facts of a compilation as one file for a browser."""
