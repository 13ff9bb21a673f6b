"""Models with a density: mixtures and their kin, and Boltzmann machines."""
