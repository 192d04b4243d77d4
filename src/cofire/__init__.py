"""cofire: groups of neurons that fire together."""
