"""RITM: HRNet with OCR that reads rendered click maps (arXiv 2102.06583)."""
