"""Step 1: open a session, or make one."""
