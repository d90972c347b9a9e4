"""What a kind of the SAM family is called, and what it refuses."""

import pytest
import sam_golden

from ports.sam import kind, network, tiny_vit
from ports.sam.kind import Kind


def test_what_is_not_the_default_is_in_the_name():
  assert Kind().suffix == '' and Kind(hq='added').suffix == ''
  assert Kind(mask_choice='single').suffix == '_single'
  assert Kind(mask_choice='advised').suffix == '_advised'
  assert Kind(feedback='forget_at_negative_second').suffix == '_forget_at_negative_second'
  assert Kind(precision='bfloat16').suffix == '_bfloat16'
  assert Kind(hq='hq_only').suffix == '_hq_only'
  every = Kind('tiny_vit', 'advised', 'forget_at_negative_second', 'bfloat16', 'hq_only')
  assert every.suffix == '_advised_forget_at_negative_second_bfloat16_hq_only'


def test_names_tell_all_kinds_of_an_encoder_apart():
  suffixes = [
    Kind('tiny_vit', choice, feedback, precision, hq).suffix
    for choice in network.MASK_CHOICES
    for feedback in kind.FEEDBACKS
    for precision in kind.PRECISIONS
    for hq in kind.HQ_MASKS
  ]
  assert len(set(suffixes)) == len(suffixes) == 24


def test_an_unknown_choice_is_refused():
  for option, known in (
    ('mask_choice', 'best_of_three, single, advised'),
    ('feedback', 'always, forget_at_negative_second'),
    ('precision', 'float32, bfloat16'),
    ('hq', ', added, hq_only'),
  ):
    with pytest.raises(ValueError, match=f"{option} is 'none'; known: {known}"):
      Kind(**{option: 'none'})


def test_sizes_are_those_of_the_encoder():
  tiny, reduced = Kind(), Kind(sam_golden.REDUCED)
  assert (tiny.side, tiny.grid, tiny.early) == (1024, 64, tiny_vit.EARLY) == (1024, 64, 160)
  assert (reduced.side, reduced.grid, reduced.early) == (256, 16, 96)
  assert list(kind.ENCODERS) == ['vit_tiny', 'vit_b', 'vit_l', 'vit_h']
