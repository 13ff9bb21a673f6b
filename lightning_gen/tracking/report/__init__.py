"""The comparison of runs: groups, scores, curves and pictures on one page."""
