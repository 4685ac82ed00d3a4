"""The registry of images, as far as things are removed from it."""
