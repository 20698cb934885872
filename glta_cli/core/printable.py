"""Text of others, such as ids, titles, file names and keys, that must be shown rather than obeyed."""

from __future__ import annotations

import re

# C0 and C1 controls; what turns the direction of the text behind it; separators of lines; characters without width,
# which make two different names look alike; marks that hide text.
HIDDEN = [
    *(*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F)),
    *(*range(0x2060, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFC), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE0080)),
]
BLANKS = dict.fromkeys(HIDDEN, " ")
# Joiners belong to emoji and to the scripts of Asia; behind a letter of Europe they are only hidden.
JOINER = re.compile("(?<![\u0600-\U0010ffff])[\u200c\u200d]")
# Half a character, as in a file name that is no UTF-8, is none.
ESCAPED = re.compile(f"[{''.join(map(re.escape, map(chr, HIDDEN)))}\ud800-\udfff]|{JOINER.pattern}")
LETTERS = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}


def printable(text: str) -> str:
    """`text` on one line, with a blank for each character that would command the terminal rather than be shown."""
    # Most text is: searching it would cost more than all else about it.
    return text if text.isprintable() else JOINER.sub(" ", text.translate(BLANKS))


def visible(text: str, keep: str = "") -> str:
    r"""`text` on one line, with characters nobody would see, or a terminal would obey, as escapes such as `\x1b`.

    Args:
        keep: characters that stay, such as the newlines of a text of several lines.
    """
    if text.isprintable():
        return text
    return ESCAPED.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    if character in LETTERS:
        return LETTERS[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shell_word(text: str) -> str:
    r"""`text` as a word to paste into a shell; characters nobody would see as the escapes of `$'...'`.

    Example: `a b` is `'a b'`, and a word with a newline `$'a\nb'`.
    """
    import shlex

    if visible(text) == text:
        return shlex.quote(text)
    return "$'" + visible(text.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def bounded(text: str, most: int) -> str:
    """`text`, without its middle where it is longer than `most` characters; its end often has the reason."""
    if len(text) <= most:
        return text
    end = most // 4
    left_out = len(text) - most
    return f"{text[: most - end]} ... ({left_out:,} characters left out) ... {text[len(text) - end :]}"
