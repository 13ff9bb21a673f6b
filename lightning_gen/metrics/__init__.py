"""Scores: one feature pass, every metric, and the protocol each number was measured under."""
