"""Views on a run: what is on disk, shown in Weights & Biases."""
