"""Models that turn noise into data step by step."""
