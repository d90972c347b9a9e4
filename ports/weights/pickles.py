"""A pickle played on a stack that knows plain values: nothing is imported, called or hashed.

Python's own unpickler hashes what a pickle offers as a key, calls what it names and allocates what
it numbers; a few hundred hostile bytes keep it busy for ever. Here names stay names, an object of
a class is a stand-in, keys are short strings and numbers, and work is bounded by opcodes.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from typing import Any, NoReturn

from ports.weights.errors import CheckpointError

__all__ = ['MAX_OPCODES', 'MAX_PICKLE_BYTES', 'Entries', 'Global', 'PassedOver', 'play']

MAX_PICKLE_BYTES = 64 << 20
# The largest published checkpoint takes 60,000; 2,000,000 take 2 to 5 s.
MAX_OPCODES = 2_000_000
# Dicts, lists and sets; they take more than other opcodes, and a tensor takes one.
_MAX_CONTAINERS = 500_000
_MAX_KEY = 1024
# From here on different numbers have the same hash.
_MAX_NUMBER = 1 << 60
_MAX_KEY_PARTS = 16

_VALUES = {
  'BININT', 'BININT1', 'BININT2', 'INT', 'LONG1', 'BINFLOAT', 'BINUNICODE', 'SHORT_BINUNICODE',
  'BINUNICODE8', 'BINSTRING', 'SHORT_BINSTRING', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8',
  'BYTEARRAY8',
}
_CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}
_TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}


# What runs commands, files or code. Nothing is called here whatever its name; but no training
# leaves these in a checkpoint, so a file that names one is not to be trusted in the rest either.
_HOSTILE = frozenset([
  'builtins', 'nt', 'posix', 'os', 'sys', 'subprocess', 'shutil', 'importlib', 'runpy', 'pty',
  'socket', 'ctypes', 'code', 'marshal', 'pickle', '_pickle', 'webbrowser', 'commands', 'pip',
  'multiprocessing', 'asyncio', 'urllib', 'requests', 'http', 'tempfile', 'operator', 'timeit',
])
_HARMLESS_BUILTINS = frozenset([
  'bool', 'bytearray', 'bytes', 'complex', 'dict', 'float', 'frozenset', 'int', 'list', 'object',
  'range', 'set', 'slice', 'str', 'tuple', 'type', 'long', 'unicode', 'xrange',
])


class Global:
  """A name that a pickle mentions: a function or class, which is not looked up."""

  def __init__(self, name: str):
    self.name = name


class PassedOver:
  """Stands for an object of a class that is not read; what it was made of is dropped.

  Attributes:
    name: of the class, or of the function that would make the object.
    network: whether its attributes were those of a PyTorch module.
  """

  def __init__(self, name: str):
    self.name = name
    self.network = False


class Entries(dict[str | int, Any]):
  """A dict of a pickle, plain or ordered, by strings and numbers.

  Attributes:
    others: values whose keys are neither.
  """

  __slots__ = ('others',)

  def __init__(self) -> None:
    super().__init__()
    self.others: tuple[Any, ...] | list[Any] = ()

  def put(self, key: Any, value: Any) -> None:
    """Adds an entry; raises CheckpointError for a key that is too long or nested."""
    if isinstance(key, str) and len(key) > _MAX_KEY:
      raise CheckpointError(f'a dict has a key of {len(key)} characters: refused')
    if isinstance(key, int) and abs(key) >= _MAX_NUMBER:
      raise CheckpointError(f'a dict has a number of {key.bit_length()} bits as a key: refused')
    if isinstance(key, str | int):
      self[key] = value
      return
    if isinstance(key, tuple):
      nested = any(isinstance(part, tuple | list | dict) for part in key[:_MAX_KEY_PARTS])
      if nested or len(key) > _MAX_KEY_PARTS:
        raise CheckpointError('a dict has a key of nested or long tuples: refused')
    elif isinstance(key, list | dict):
      raise CheckpointError(f'the pickle is damaged: a key of type {type(key).__name__}')
    if not isinstance(self.others, list):
      self.others = []
    self.others.append(value)


class _Mark:
  """Where on the stack the arguments of an opcode begin."""


_MARK = _Mark()


def _damaged(found: str) -> NoReturn:
  raise CheckpointError(f'the pickle is damaged: {found}')


class _Player:
  """The stack and the memo of one pickle; `_METHODS` says what an opcode does to them."""

  def __init__(
    self, make: Callable[[str, tuple[Any, ...]], Any], stored: Callable[[Any], Any], length: int
  ):
    self._make, self._stored, self._length = make, stored, length
    self.stack: list[Any] = []
    self._memo: dict[int, Any] = {}

  def pop(self) -> Any:
    if not self.stack:
      _damaged('an empty stack')
    value = self.stack.pop()
    if value is _MARK:
      _damaged('a mark in place of a value')
    return value

  def _top(self) -> Any:
    self.stack.append(self.pop())
    return self.stack[-1]

  def _items(self) -> list[Any]:
    """What lies above the last mark, which is removed with it."""
    items: list[Any] = []
    while self.stack and self.stack[-1] is not _MARK:
      items.append(self.stack.pop())
    if not self.stack:
      _damaged('no mark')
    self.stack.pop()
    return items[::-1]

  def remember(self, arg: Any) -> None:
    index = len(self._memo) if arg is None else arg
    if index > self._length:
      # Python's unpickler allocates as many slots as the largest index
      raise CheckpointError(f'the pickle numbers its memo up to {index}: refused')
    self._memo[index] = self._top()

  def recall(self, arg: Any) -> None:
    if arg not in self._memo:
      _damaged(f'no entry {arg} in its memo')
    self.stack.append(self._memo[arg])

  def drop(self, arg: Any) -> None:
    del arg
    if not self.stack:
      _damaged('an empty stack')
    self.stack.pop()

  def tuple_of_marked(self, arg: Any) -> None:
    del arg
    self.stack.append(tuple(self._items()))

  def append(self, arg: Any) -> None:
    del arg
    self._extend([self.pop()])

  def appends(self, arg: Any) -> None:
    del arg
    self._extend(self._items())

  def _extend(self, items: list[Any]) -> None:
    target = self._top()
    if isinstance(target, list):
      target += items
    elif not isinstance(target, PassedOver):
      _damaged(f'items for a {type(target).__name__}')

  def set_item(self, arg: Any) -> None:
    del arg
    value, key = self.pop(), self.pop()
    self._put([key, value])

  def set_items(self, arg: Any) -> None:
    del arg
    self._put(self._items())

  def _put(self, items: list[Any]) -> None:
    target = self._top()
    if isinstance(target, Entries) and len(items) % 2 == 0:
      for key, value in zip(items[::2], items[1::2], strict=True):
        target.put(key, value)
    elif not isinstance(target, PassedOver):
      _damaged(f'{len(items)} keys and values for a {type(target).__name__}')

  def frozen_set(self, arg: Any) -> None:
    del arg
    self._items()
    self.stack.append(PassedOver('builtins.frozenset'))

  def mention(self, arg: Any) -> None:
    module, _, name = arg.partition(' ')
    self._mention(module, name)

  def mention_of_stack(self, arg: Any) -> None:
    del arg
    name, module = self.pop(), self.pop()
    self._mention(module, name)

  def _mention(self, module: Any, name: Any) -> None:
    if not isinstance(module, str) or not isinstance(name, str):
      _damaged('a name that is no text')
    if len(module) + len(name) > _MAX_KEY:
      raise CheckpointError(f'the pickle mentions a name of {len(name)} characters: refused')
    harmless = name in _HARMLESS_BUILTINS or name[:1].isupper()  # types, exceptions
    if module in ('__builtin__', 'builtins') and harmless:
      module = 'builtins'
    elif module == '__builtin__' or module.split('.')[0] in _HOSTILE:
      raise CheckpointError(
        f'the pickle asks for "{module}.{name}"; only tensors and plain containers are read, and '
        'nothing in the file was run. If you trust it, save its state dict alone with torch and '
        'use that file'
      )
    self.stack.append(Global(f'{module}.{name}'))

  def call(self, arg: Any) -> None:
    del arg
    arguments, function = self.pop(), self.pop()
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
      _damaged('a call of what is no function')
    self.stack.append(self._make(function.name, arguments))

  def new(self, arg: Any) -> None:
    del arg
    self.pop()
    kind = self.pop()
    if not isinstance(kind, Global):
      _damaged('an object of what is no class')
    made = self._make(kind.name, ())
    if not isinstance(made, PassedOver):
      _damaged(f'an object of {kind.name} made without calling it')
    self.stack.append(made)

  def new_with_keywords(self, arg: Any) -> None:
    self.pop()
    self.new(arg)

  def attributes(self, arg: Any) -> None:
    del arg
    state, target = self.pop(), self._top()
    if isinstance(target, PassedOver):
      target.network |= isinstance(state, Entries) and {'_modules', '_parameters'} <= state.keys()
    elif not isinstance(target, Entries):
      # torch hangs `_metadata` on a state dict, and nothing else has attributes
      what = target.name if isinstance(target, Global) else type(target).__name__
      _damaged(f'{what} with attributes')

  def stored(self, arg: Any) -> None:
    del arg
    self.stack.append(self._stored(self.pop()))


_METHODS: dict[str, Callable[[_Player, Any], None]] = {
  'BINPUT': _Player.remember,
  'LONG_BINPUT': _Player.remember,
  'MEMOIZE': _Player.remember,
  'BINGET': _Player.recall,
  'LONG_BINGET': _Player.recall,
  'POP': _Player.drop,
  'TUPLE': _Player.tuple_of_marked,
  'APPEND': _Player.append,
  'APPENDS': _Player.appends,
  'ADDITEMS': _Player.appends,
  'SETITEM': _Player.set_item,
  'SETITEMS': _Player.set_items,
  'FROZENSET': _Player.frozen_set,
  'GLOBAL': _Player.mention,
  'STACK_GLOBAL': _Player.mention_of_stack,
  'REDUCE': _Player.call,
  'NEWOBJ': _Player.new,
  'NEWOBJ_EX': _Player.new_with_keywords,
  'BUILD': _Player.attributes,
  'BINPERSID': _Player.stored,
}
_EMPTY: dict[str, Callable[[], Any]] = {
  'EMPTY_TUPLE': tuple,
  'EMPTY_LIST': list,
  'EMPTY_DICT': Entries,
  'EMPTY_SET': lambda: PassedOver('builtins.set'),
}
_NOTHING = ('PROTO', 'FRAME', 'STOP')


def play(
  stream: io.BytesIO,
  make: Callable[[str, tuple[Any, ...]], Any],
  stored: Callable[[Any], Any],
  *,
  most: int = MAX_OPCODES,
) -> Any:
  """What the pickle at the stream's position holds; leaves the stream behind it.

  Args:
    stream: of bytes in memory.
    make: (dotted name, arguments) -> what a call of it gives; a `PassedOver` for what it does not
      know.
    stored: what a persistent id stands for.
    most: opcodes that are played.

  Returns:
    None, bools, numbers, strings, bytes, lists, tuples and `Entries`; `Global` for a name,
    `PassedOver` for other objects, and what `make` and `stored` gave.

  Raises:
    CheckpointError: a damaged or truncated pickle, opcodes that no checkpoint needs, or more than
      one takes; and what `make` and `stored` raise.
  """
  player = _Player(make, stored, min(len(stream.getbuffer()), MAX_PICKLE_BYTES))
  stack, containers = player.stack, 0
  try:
    for count, (opcode, arg, _) in enumerate(pickletools.genops(stream)):
      name = opcode.name
      if count > most:
        raise CheckpointError(f'the pickle has more than {most} opcodes: refused')
      if name in _VALUES:
        stack.append(arg)
      elif name in _METHODS:
        _METHODS[name](player, arg)
      elif name == 'MARK':
        stack.append(_MARK)
      elif name in _TUPLES:
        items = [player.pop() for _ in range(_TUPLES[name])]
        stack.append(tuple(items[::-1]))
      elif name in _EMPTY:
        containers += 1
        if containers > _MAX_CONTAINERS:
          raise CheckpointError(f'the pickle has more than {_MAX_CONTAINERS} containers: refused')
        stack.append(_EMPTY[name]())
      elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
      elif name not in _NOTHING:
        raise CheckpointError(f'the pickle holds {name}, which no checkpoint needs: refused')
  except CheckpointError:
    raise
  except Exception as error:
    # `genops` raises several types for bytes that are no pickle
    raise CheckpointError(f'the pickle is damaged or truncated: {str(error)[:200]}') from error
  if len(stack) != 1 or stack[0] is _MARK:
    _damaged(f'{len(stack)} values are left')
  return stack[0]
