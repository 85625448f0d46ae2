"""What travels: event models, topic declarations, and the contracts generated from them."""
