"""Launches timed where they are."""
