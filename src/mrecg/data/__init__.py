"""Images: the embedded digits and folders of images."""
