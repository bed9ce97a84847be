"""What PyPI shows: README with links that work there, and the addresses of the project.

``REPOSITORY_URL`` names the repository, such as ``https://github.com/someone/tap-barchart-events``.
Without it no address is known: links of README to files of the project become plain text.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^]]*)\]\((?!https?:|#)([^)]*)\)")
"""A link, or a picture, that leads to a file of the project."""


class PagesOfPyPI(MetadataHookInterface):
    """Fills in ``readme`` and ``urls``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Take README from the project's folder, and the addresses from the environment."""
        repository = os.environ.get("REPOSITORY_URL", "").rstrip("/")
        tag = f"v{metadata['version']}"
        text = Path(self.root, "README.md").read_text(encoding="utf-8")

        def absolute(link: re.Match[str]) -> str:
            picture, words, path = link.groups()
            if not repository:
                return "" if picture else words
            return f"{picture}[{words}]({repository}/{'raw' if picture else 'blob'}/{tag}/{path})"

        metadata["readme"] = {"content-type": "text/markdown", "text": _LINK.sub(absolute, text)}
        paths = {
            "Repository": "",
            "Documentation": f"/tree/{tag}/docs",
            "Changelog": f"/blob/{tag}/CHANGELOG.md",
            "Issues": "/issues",
        }
        metadata["urls"] = {name: repository + path for name, path in paths.items() if repository}
