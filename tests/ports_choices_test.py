"""Options by name: what is known passes, what is not is named."""

import pytest

from ports import choices


@pytest.mark.parametrize('known', [('a', 'b'), {'a': 1, 'b': 2}])
def test_an_unknown_name_is_told_with_all_that_are_known(known):
  assert choices.check('size', 'b', known) is None
  with pytest.raises(ValueError, match=r"^size is 'c'; known: a, b$"):
    choices.check('size', 'c', known)
