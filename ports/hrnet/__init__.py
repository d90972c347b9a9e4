"""HRNet with an object-contextual head that reads click maps, and its published weights."""
