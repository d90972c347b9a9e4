"""What mkdocs calls while it builds the site: pages are completed, the notebook is brought in."""

from __future__ import annotations

import base64
import pathlib
import sys
from typing import Any

import makers
import notebook
import texts
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

_TOP = pathlib.Path(__file__).parents[2]


def on_config(config: Any) -> Any:
  """The site is of the package beside it, whichever is installed."""
  sys.path.insert(0, str(_TOP))
  return config


@event_priority(100)  # Before the plug-in that knows notebooks.
def on_files(files: Files, config: Any) -> Files:
  """Adds the notebook, and its last picture for the front page where it was executed."""
  shown = notebook.pictures()
  folder = (notebook.EXECUTED if shown else notebook.KEPT).parent
  files.append(File(notebook.KEPT.name, str(folder), config.site_dir, config.use_directory_urls))
  if shown:
    files.append(File.generated(config, notebook.PICTURE, content=base64.b64decode(shown[-1])))
  return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
  """Carries out the directives of a page, and relinks it."""
  try:
    return texts.included(markdown, page.file.src_uri, _TOP, makers.MAKERS)
  except texts.TextError as error:
    raise PluginError(str(error)) from error
