"""Pure tensor functions that two papers or more share."""
