"""Action segmentation heads of BEAST (appendix E): behaviors from any features of every frame, keypoints or none."""
