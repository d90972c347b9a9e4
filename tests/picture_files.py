"""Picture files of layouts that Pillow does not write by itself, and a scene to fill them."""

import struct
import zlib

import numpy as np
from PIL import Image

SIZE = (24, 36)


def disk(size=SIZE, centre=(11, 16), radius=7):
  """(height, width) bool, an object that touches no border."""
  y, x = np.ogrid[: size[0], : size[1]]
  return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def labelled(size=SIZE):
  """(height, width) uint8 with the objects 1, 2 and 3."""
  numbers = np.where(disk(size), 3, 0).astype(np.uint8)
  numbers[2:6, 26:33], numbers[16:22, 28:35] = 1, 2
  return numbers


def shades(size=SIZE, low=40, high=230):
  """(height, width) uint8, a slope of grey."""
  ramp = np.linspace(low, high, size[0] * size[1])
  return ramp.reshape(size).astype(np.uint8)


def write_png(path, pixels, colour_type, *, sbit=b''):
  """A PNG of (height, width, channels) with 8 or 16 bits, as the dtype says."""

  def chunk(name, body):
    return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))

  height, width = pixels.shape[:2]
  depth = 8 * pixels.dtype.itemsize
  head = struct.pack('>IIBBBBB', width, height, depth, colour_type, 0, 0, 0)
  big = pixels.astype(pixels.dtype.newbyteorder('>'))
  lines = b''.join(b'\0' + line.tobytes() for line in big)
  parts = [chunk(b'IHDR', head)]
  parts += [chunk(b'sBIT', sbit)] if sbit else []
  parts += [chunk(b'IDAT', zlib.compress(lines)), chunk(b'IEND', b'')]
  path.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(parts))
  return path


def write_tiff(path, pages, tags=(), order='<', planar=False):
  """An uncompressed TIFF of arrays (height, width[, channels]) or, planar, (channels, ...).

  Args:
    path: of the file.
    pages: arrays, one a page.
    tags: (number, value) of more entries of each page, replacing those made here; texts or numbers.
    order: of bytes.
    planar: whether channels come one after the other.
  """
  out = bytearray((b'II*\0' if order == '<' else b'MM\0*') + bytes(4))
  link = 4
  for page in pages:
    height, width = page.shape[-2:] if planar else page.shape[:2]
    samples = page.shape[0] if planar else (page.shape[2] if page.ndim == 3 else 1)
    kind = {'u': 1, 'i': 2, 'f': 3}[page.dtype.kind]
    data = page.astype(page.dtype.newbyteorder(order)).tobytes()
    start, bits = len(out), 8 * page.dtype.itemsize
    out += data + bytes(len(data) % 2)
    each = len(data) // samples if planar else len(data)
    entries = {
      256: width, 257: height, 258: [bits] * samples, 259: 1, 262: 2 if samples >= 3 else 1,
      273: [start + k * each for k in range(samples if planar else 1)], 277: samples, 278: height,
      279: [each] * (samples if planar else 1), 284: 2 if planar else 1, 339: [kind] * samples,
    } | dict(tags)  # fmt: skip
    body = bytearray()
    at = len(out) + 2 + 12 * len(entries) + 4
    table = struct.pack(f'{order}H', len(entries))
    for number, value in sorted(entries.items()):
      if isinstance(value, str):
        code, count, packed = 2, len(value) + 1, value.encode() + b'\0'
      else:
        values = value if isinstance(value, list) else [value]
        code, count = 4, len(values)
        packed = struct.pack(f'{order}{count}I', *values)
        if number in (258, 259, 262, 277, 281, 284, 338, 339, 341):
          code, packed = 3, struct.pack(f'{order}{count}H', *values)
      if len(packed) > 4:
        inline = struct.pack(f'{order}I', at + len(body))
        body += packed + bytes(len(packed) % 2)
      else:
        inline = packed.ljust(4, b'\0')
      table += struct.pack(f'{order}HHI', number, code, count) + inline
    struct.pack_into(f'{order}I', out, link, len(out))
    link = len(out) + len(table)
    out += table + bytes(4) + body
  path.write_bytes(bytes(out))
  return path


def palette_file(path, index, colours, **options):
  """A palette file with these indices, (height, width), and colours."""
  image = Image.frombytes('P', index.shape[::-1], index.astype(np.uint8).tobytes())
  image.putpalette([channel for colour in colours for channel in colour])
  image.save(path, **options)
  return path


def save(path, array, **options):
  Image.fromarray(array).save(path, **options)
  return path


def gif_of_one_pixel(path, side):
  """A GIF of a few bytes whose canvas is `side` pixels wide and high."""
  body = b'GIF89a' + struct.pack('<HH', side, side) + bytes([0x80, 0, 0, 0, 0, 0, 255, 255, 255])
  frame = b',' + struct.pack('<HHHH', 0, 0, 1, 1) + b'\0\x02\x02\x44\x01\0'
  path.write_bytes(body + frame + b';')
  return path


