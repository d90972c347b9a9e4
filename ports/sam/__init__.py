"""The SAM family."""
