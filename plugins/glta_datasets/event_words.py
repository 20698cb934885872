"""What shops call their events, and what each of those is proposed to count for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

# In lower case without marks: add_to_cart, Add to cart and addToCart are one.
_BOUGHT: Final = (
    *("purchase", "purchased", "purchases", "buy", "bought", "order", "ordered", "orders", "transaction", "checkout"),
    *("sale", "sold", "pay", "paid", "payment", "rent", "rental", "orderplaced", "ordercompleted"),
)
_WANTED: Final = (
    *("cart", "addtocart", "addcart", "basket", "addtobasket", "wishlist", "addtowishlist", "favorite", "favourite"),
    *("favorites", "fav", "like", "liked", "save", "saved", "bookmark"),
)
_LOOKED_AT: Final = (
    *("view", "viewed", "views", "click", "clicked", "clicks", "impression", "impressions", "pv", "pageview"),
    *("productview", "viewitem", "itemview", "detail", "detailview", "visit", "open", "opened", "browse"),
)
_TAKEN_BACK: Final = re.compile(
    r"(remove|delete|cancel|refund|return|dislike|unlike|unsave|unfav|storn|retoure|rckgabe|rueckgabe|entfern).*"
)
_WEIGHTS: Final = ((3.0, _BOUGHT), (2.0, _WANTED), (1.0, _LOOKED_AT))
# Words that columns of states, prices or rights hold as well: alone they tell no column of events.
_ORDINARY: Final = (
    *("open", "opened", "save", "saved", "sale", "sold", "like", "liked", "detail", "visit", "browse"),
    *("pay", "paid", "payment", "rent", "rental", "transaction", "korb", "zahlung", "buchung", "besuch"),
)
# The same in German, without the letters that are no ASCII.
_GERMAN: Final = (
    (
        3.0,
        (
            *("kauf", "kufe", "kaeufe", "gekauft", "einkauf", "verkauf", "verkauft", "bestellung", "bestellungen"),
            *("bestellt", "bezahlt", "zahlung", "buchung", "gebucht", "ausleihe", "ausgeliehen"),
        ),
    ),
    (
        2.0,
        (
            *("warenkorb", "indenwarenkorb", "korb", "einkaufswagen", "merkzettel", "merkliste", "gemerkt"),
            *("vorgemerkt", "wunschliste", "wunschzettel", "favorit", "favoriten"),
        ),
    ),
    (
        1.0,
        (
            *("ansicht", "ansichten", "angesehen", "gesehen", "aufruf", "aufrufe", "aufgerufen", "seitenaufruf"),
            *("klick", "klicks", "geklickt", "angeklickt", "detailansicht", "produktansicht", "besuch", "besucht"),
        ),
    ),
)


def plain_event(event: str) -> str:
    """An event's name in lower case without marks."""
    return re.sub(r"[^a-z0-9]", "", event.lower())


def usual_weight(event: str) -> float | None:
    """3 for what is bought, 2 for what is put into a cart or on a list, 1 for what is looked at; None for others."""
    return next((weight for weight, words in (*_WEIGHTS, *_GERMAN) if plain_event(event) in words), None)


def tells_unasked(event: str) -> bool:
    """Whether this word has any log's column of a vague name taken for one of events.

    Those of other languages do so for `glta init` alone: a log that was read without them is read so again.
    """
    return any(plain_event(event) in words for _, words in _WEIGHTS)


def is_ordinary_word(event: str) -> bool:
    """Whether a word with a usual weight often stands for something else, as in the states of an order."""
    return plain_event(event) in _ORDINARY


def is_taken_back(event: str) -> bool:
    """Whether it says the opposite of an interest, such as remove_from_cart."""
    return _TAKEN_BACK.fullmatch(plain_event(event)) is not None


def proposed_weights(events: Iterable[str]) -> dict[str, float]:
    """The usual weights, 1 for an event without one; those that are taken back are left out."""
    return {event: usual_weight(event) or 1.0 for event in events if not is_taken_back(event)}


def written_weights(weights: Mapping[str, float]) -> str:
    """As an option is given: `{purchase: 3, view: 1}`."""
    return "{" + ", ".join(f"{_key(event)}: {weight:g}" for event, weight in weights.items()) + "}"


def _key(event: str) -> str:
    """As a key of YAML that is text; quoted unless it is a plain word of letters that YAML takes for nothing else."""
    words = {"on", "off", "yes", "no", "y", "n", "true", "false", "null"}
    plain = re.fullmatch(r"[A-Za-z][\w -]*[\w]|[A-Za-z]", event) and event.lower() not in words
    return event if plain else '"' + event.replace("\\", "\\\\").replace('"', '\\"') + '"'
