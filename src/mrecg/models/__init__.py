"""Networks: the embedded one, torchvision's, and any importable callable."""
