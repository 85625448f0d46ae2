"""The checker's parts, by what they look at."""
