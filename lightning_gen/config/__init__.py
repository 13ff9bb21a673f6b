"""The configuration, composed by Hydra and checked whole before torch is imported."""
