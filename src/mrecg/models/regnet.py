"""The RegNet that torchvision leaves out.

Source: Radosavovic et al., Designing Network Design Spaces, arXiv 2003.13678: RegNetX-600MF has depth 16,
w_0 = 48, w_a = 36.97, w_m = 2.24 and groups of 24 channels (6.2 M parameters).
"""

from torch import nn
from torchvision.models.regnet import BlockParams, RegNet

DEPTH, W_0, W_A, W_M, GROUP_WIDTH = 16, 48, 36.97, 2.24, 24


def regnet_x_600mf(num_classes: int = 1000) -> nn.Module:
    """Build RegNetX-600MF.

    Args:
        num_classes: Outputs.

    Returns:
        torchvision's RegNet with random weights, for images of shape (N, 3, H, W).
    """
    blocks = BlockParams.from_init_params(depth=DEPTH, w_0=W_0, w_a=W_A, w_m=W_M, group_width=GROUP_WIDTH)
    model: nn.Module = RegNet(blocks, num_classes=num_classes)
    return model
