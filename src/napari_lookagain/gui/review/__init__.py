"""Step 3: name, correct, learn."""
