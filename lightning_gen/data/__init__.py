"""Data: one array format on disk, one stream of samples, one place that makes bytes into floats."""
