"""Traced parts of a round without a model: distances, regions, overlap, clicks as disks."""
