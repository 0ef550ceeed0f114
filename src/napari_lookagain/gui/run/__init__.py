"""Step 2: discover clusters, and look again at another budget."""
