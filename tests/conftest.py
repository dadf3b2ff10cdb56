"""What all tests share."""

import os

# Tests are there to compile: a program that another run compiled would show them nothing.
# Those of keeping programs turn it on.
os.environ["INFINI_PROGRAM_CACHE"] = "0"
