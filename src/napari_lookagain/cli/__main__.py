"""``python -m napari_lookagain.cli``."""

from napari_lookagain.cli import main

main()
