"""What columns are called in logs and in files of item texts: names that say it, and names that may mean it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# Names in lower case without marks: User ID, user_id and userId are one.
COMMON_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "user": (
        "user",
        "userid",
        "uid",
        "customer",
        "customerid",
        "reviewerid",
        "visitorid",
        "memberid",
        "account",
    ),
    "item": (
        *(
            "item",
            "itemid",
            "iid",
            "product",
            "productid",
            "movie",
            "movieid",
            "book",
            "bookid",
            "parentasin",
        ),
        *("asin", "sku", "article", "articleid", "track", "trackid", "song", "songid", "isbn", "id"),
    ),
    "rating": ("rating", "score", "stars", "overall"),
    "timestamp": ("timestamp", "time", "unixtime", "unixreviewtime", "datetime", "date", "createdat", "ts"),
    "split": ("split", "partition"),
    "event": (
        *("eventtype", "eventname", "event", "interactiontype", "interaction", "behaviortype", "behaviourtype"),
        *("behavior", "behaviour", "actiontype", "action", "type"),
    ),
    # Numbers of many a meaning are called quantity or count: one that counts is named.
    "weight": (),
    "title": ("title", "name", "itemname", "productname", "movietitle"),
    "description": ("description", "text", "summary", "genres", "genre", "categories", "category", "tags"),
}
# What may be a row's weight, and is not taken for it unasked.
QUANTITY_NAMES: Final = ("qty", "quantity", "weight", "count", "units", "menge", "anzahl")
INTERACTION_ROLES: Final = ("user", "item", "rating", "timestamp", "split", "event", "weight")

# Names that may mean it, where none says it.
_NUMBERED: Final = "(id|code|no|nr|num|number|nummer|key|ref|name)?"
_LIKELY: Final[Mapping[str, str]] = {
    "user": "(user|customer|client|member|visitor|buyer|shopper|reader|viewer|listener|subscriber|person|account|"
    f"kunde|kunden|nutzer){_NUMBERED}",
    "item": "(id|(item|product|article|movie|film|book|track|song|game|sku|asin|isbn|ean|gtin|artikel|produkt)"
    "(id|code|no|nr|num|number|nummer|key|ref)?)",
    "rating": ".*(rating|score|stars|bewertung|sterne|note)",
    "timestamp": ".*(date|time|datetime|timestamp|datum|zeit|zeitpunkt|zeitstempel)|"
    "(created|updated|ordered|purchased|bought|sold|viewed|"
    "paid|rated|watched|event|order|purchase|sale)(at|on|ts)",
    "event": "(ereignis|interaktion|interaktions)(typ|art|name)?",
    "title": ".*(title|titel|name|bezeichnung)",
    "description": ".*(description|beschreibung|text|summary|genres?|category|categories|kategorie|warengruppe|tags|"
    "brand|marke)",
}


def plain_name(column: str) -> str:
    """A column's name in lower case without marks."""
    # RecBole writes the type behind the name, as in user_id:token.
    return re.sub(r"[^a-z0-9]", "", column.partition(":")[0].lower())


def named_so(role: str, column: str) -> bool:
    """Whether a column's name says that it is this; `id` may be anything's."""
    return plain_name(column) in COMMON_NAMES[role] and plain_name(column) != "id"


def may_mean(role: str, column: str) -> bool:
    """Whether a column's name may mean this."""
    return re.fullmatch(_LIKELY[role], plain_name(column)) is not None


def stands_for(role: str, column: str) -> bool:
    """Whether a column may be taken for this where no other is: people are told apart by their e-mail address."""
    return role == "user" and re.fullmatch("(.*[a-z])?e?mail(address|adresse)?", plain_name(column)) is not None
