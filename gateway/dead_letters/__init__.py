"""Dead letters: what could not be processed, to look at, send again or give up."""
