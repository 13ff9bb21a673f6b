"""Images of one domain made into images of another."""
