"""What tests of the eye share."""

import torch

torch.set_num_threads(1)  # tiny models on several threads mostly wait for each other
