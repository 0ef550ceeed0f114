"""Sessions as napari layers, and what keeps them in step with the state."""
