"""Published numbers: known answers, recipes, verdicts."""
