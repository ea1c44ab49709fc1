"""RegNetX-600MF, which torchvision's builders leave out, from torchvision's blocks.

Source: Radosavovic et al., Designing Network Design Spaces, arXiv 2003.13678, table of the REGNETX models.
"""

from functools import partial

from torch import nn
from torchvision.models.regnet import BlockParams, RegNet


def regnet_x_600mf(num_classes: int = 1000) -> RegNet:
    """Build RegNetX-600MF: 16 blocks in stages of 1, 3, 5 and 7, 6.2 M parameters.

    Its tensors stand in the order of the authors' code (in a block the projection first), so files of that
    code base load by order.

    Args:
        num_classes: Outputs.

    Returns:
        The network with random weights, for images of shape (N, 3, 224, 224).
    """
    blocks = BlockParams.from_init_params(depth=16, w_0=48, w_a=36.97, w_m=2.24, group_width=24)
    return RegNet(blocks, num_classes=num_classes, norm_layer=partial(nn.BatchNorm2d, eps=1e-5, momentum=0.1))
