"""How one click of a trajectory is found."""
