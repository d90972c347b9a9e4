"""Models that read rendered clicks: click maps and zoom-in."""
