"""The schedules that MRECG's experiments used, by the unit names of torchvision's graphs.

Source: the configurations of the official MRECG code, arXiv 2303.11906.
"""

PUBLISHED: dict[str, tuple[tuple[str, ...], ...]] = {
    "resnet18": (("layer1.1", "layer2.0"), ("layer2.1", "layer3.0")),
    "resnet50": (
        ("layer1.2", "layer2.0"),
        ("layer2.3", "layer3.0", "layer3.1"),
        ("layer3.5", "layer4.0"),
    ),
    "mobilenet_v2": (
        ("features.3", "features.4"),
        ("features.6", "features.7"),
        ("features.9", "features.10", "features.11"),
        ("features.12", "features.13", "features.14"),
        ("features.16", "features.17"),
    ),
}
"""Groups to merge; every unit that is not named stays alone."""
