"""What the site adds to docs/: pages from elsewhere in the repository, links to files that are no pages.

MkDocs calls `on_files`, `on_page_markdown` and `on_page_content` (mkdocs.yml).
"""

import re
from os.path import normpath, relpath
from pathlib import Path
from typing import Any

from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "CONTRIBUTING.md": "development/contributing.md",
    "CHANGELOG.md": "development/changelog.md",
    "sweeps/README.md": "how-to/sweeps.md",
    "README.md": "index.md",
}
"""Files of the repository that are pages of the site; README.md has one of its own."""
_HREF = re.compile(r'href="([^":#]+\.(?:md|ipynb))(#[^"]*)?"')
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/."""
    for source, uri in ELSEWHERE.items():
        if files.get_file_from_path(uri) is None:
            files.append(File.generated(config, uri, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turn links that leave docs/ into links to the site's page of that file, or into its name as code."""
    uri = page.file.src_uri
    source = next(
        (name for name, own in ELSEWHERE.items() if own == uri and name != "README.md"), f"docs/{uri}"
    )

    def link(found: re.Match[str]) -> str:
        image, text, target, anchor = found[1], found[2], found[3], found[4] or ""
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        path = normpath(Path(source).parent / target)
        own = ELSEWHERE.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(own) is None:
            if (ROOT / path).exists() and not image:
                return f"{text.strip('`')} (`{path}`)" if text.strip("`/") != path else f"`{path}`"
            return found[0]  # MkDocs says that it is missing
        return f"{image}[{text}]({relpath(own, Path(uri).parent)}{anchor})"

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Turn a notebook's links to sources of pages into links to the pages, as MkDocs does in Markdown."""
    uri = page.file.src_uri
    if not uri.endswith(".ipynb"):
        return html

    def link(found: re.Match[str]) -> str:
        target = files.get_file_from_path(normpath(Path(uri).parent / found[1]))
        if target is None:
            get_plugin_logger("site_hooks").warning("%s: there is no page %s", uri, found[1])
            return found[0]
        return f'href="{target.url_relative_to(page.file)}{found[2] or ""}"'

    return _HREF.sub(link, html)
