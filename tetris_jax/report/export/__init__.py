"""Runs in the formats of other people's tools: tables of Arrow, results of COCO."""
