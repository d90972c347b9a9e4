"""Groups of settings: what their fields allow, and home folders."""

import dataclasses
import pathlib

import pytest

from experiments.lib.groups import Group, UsageError, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Told(Group):
  count: int = setting(1, 'A number.', least=0, most=3)
  many: int = setting(1, 'Another.', least=1)
  kind: str = setting('a', 'A kind.', choices=('a', 'b'))
  place: str | None = setting(None, 'A folder.', path=True)
  places: tuple[str, ...] = setting((), 'Folders.', path=True)


@pytest.mark.parametrize(('given', 'said'), [
  ({'count': 4}, '--count=4: expected 0 to 3'),
  ({'count': -1}, '--count=-1: expected 0 to 3'),
  ({'many': 0}, '--many=0: expected at least 1'),
  ({'kind': 'c'}, '--kind=c: expected one of a, b'),
])
def test_what_a_field_does_not_allow_is_named(given, said):
  with pytest.raises(UsageError) as caught:
    Told(**given)
  assert str(caught.value) == said


def test_home_is_put_in_before_anyone_sees_a_path(monkeypatch):
  monkeypatch.setenv('HOME', '/h')
  told = Told(place='~/a', places=('~/b', 'c'))
  assert told.place == str(pathlib.Path('/h/a')) and told.places == ('/h/b', 'c')
  assert Told().place is None


def test_a_group_alone_asks_nothing_and_needs_no_device():
  assert Told().doing == '' and not Told().uses_device
