"""Networks and their weights: torchvision, timm, the embedded one, any callable."""
