"""The model: torch only, knows no recording, file or screen."""
