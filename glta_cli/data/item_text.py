"""What is written about an item, as plain text."""

from __future__ import annotations

import html
import re
from typing import Final

# An element whose content is code, a comment, an opening tag, or a closing one, which cut texts leave open.
_MARKUP: Final = re.compile(
    r"<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[a-z][^<>]*>|</[a-z]\w*\s*>?", re.IGNORECASE | re.DOTALL
)
_SPACE: Final = re.compile(r"\s+")


def plain(text: str | None) -> str | None:
    """Text without HTML entities, tags and runs of white space; None when nothing is left."""
    if not text:
        return None
    return _SPACE.sub(" ", _MARKUP.sub(" ", unescaped(text))).strip() or None


def unescaped(text: str) -> str:
    """Text with the characters that HTML entities such as `&amp;` stand for."""
    # Shops escape twice, as in `&amp;quot;`, but hardly deeper.
    for _ in range(3):
        resolved = html.unescape(text)
        if resolved == text:
            break
        text = resolved
    return text


def item_text(title: str | None, description: str | None) -> str | None:
    """Title and description, both plain, as one text; None when there is neither."""
    if not title or not description or description == title:
        return title or description
    return f"{title} {description}" if title[-1] in ".!?" else f"{title}. {description}"
