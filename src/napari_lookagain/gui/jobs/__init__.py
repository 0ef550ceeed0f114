"""Long work in a thread: started, watched, stopped."""
