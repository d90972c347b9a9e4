"""Layers and resizes that match PyTorch's."""
