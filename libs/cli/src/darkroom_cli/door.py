"""Finding the gateway that runs on this machine, and letting it read what its owner names."""
