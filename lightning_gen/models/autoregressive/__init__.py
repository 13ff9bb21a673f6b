"""Models that make an image pixel by pixel, or a text word by word: each given those before it."""
