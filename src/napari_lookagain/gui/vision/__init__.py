"""The eye: pretraining it on the video that is open, and showing what it sees."""
