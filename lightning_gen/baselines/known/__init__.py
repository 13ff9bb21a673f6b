"""Checks whose answer is known without training, one a file; ``experiments/known`` has the answers.

A check is called with a data module that is set up, or None, and gives scores:
``check(data, *, seed, progress) -> list[Score]``.
"""
