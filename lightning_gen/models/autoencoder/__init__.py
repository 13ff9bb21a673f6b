"""Models with a code: autoencoders, and those with a prior over their codes."""
