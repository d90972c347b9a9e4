"""SAM 2 and SAM 2.1 on single images: Hiera encoder, SAM's decoder with finer features."""
