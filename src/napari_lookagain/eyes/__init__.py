"""Eyes that BEAST pretrains on the videos of sessions: made, kept, opened, and looked at."""
