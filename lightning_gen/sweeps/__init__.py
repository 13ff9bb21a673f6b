"""Many runs of one experiment: a space of parameters, and what came of each point tried."""
