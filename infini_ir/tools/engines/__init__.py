"""Runtimes to compare with, each behind the protocol of `engine.py`."""
