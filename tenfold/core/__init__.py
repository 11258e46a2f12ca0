"""The ground floor: errors, seeds, registries, and the plain descriptions that the rooms above exchange."""
