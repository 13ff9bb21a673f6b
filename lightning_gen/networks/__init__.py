"""Plain networks: no Lightning, no configuration; channels and resolution are arguments."""
