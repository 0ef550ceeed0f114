"""Step 4: tables, pictures and clips."""
