"""The names of the public datasets: which categories, genres and editions there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MOVIELENS_EDITIONS: Final[Mapping[str, str]] = {
    "movielens-100k": "MovieLens 100K: 943 users, 1,682 films, 100,000 ratings",
    "movielens-1m": "MovieLens 1M: 6,040 users, 3,706 films, 1,000,209 ratings",
    "movielens-latest-small": "MovieLens latest-small: some 600 users, 100,000 ratings",
}

GOODREADS_GENRES: Final[Mapping[str, str]] = {
    f"goodreads-{genre.replace('_', '-')}": genre
    for genre in (
        "children",
        "comics_graphic",
        "fantasy_paranormal",
        "history_biography",
        "mystery_thriller_crime",
        "poetry",
        "romance",
        "young_adult",
    )
}

ADJACENCY_SPLITS: Final[Mapping[str, str]] = {
    "lightgcn-gowalla": "Gowalla in the split of NGCF and LightGCN: 29,858 users, 40,981 places, 1,027,370 visits",
    "lightgcn-split": "any split of train.txt and test.txt with a user and its items a line: Yelp2018, Amazon-book",
}

# As the releases write them, in their own spelling.
AMAZON_RELEASES: Final[Mapping[int, str]] = {
    2014: (
        "Amazon_Instant_Video Apps_for_Android Automotive Baby Beauty Books CDs_and_Vinyl "
        "Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics "
        "Grocery_and_Gourmet_Food Health_and_Personal_Care Home_and_Kitchen Kindle_Store Movies_and_TV "
        "Musical_Instruments Office_Products Patio_Lawn_and_Garden Pet_Supplies Sports_and_Outdoors "
        "Tools_and_Home_Improvement Toys_and_Games Video_Games"
    ),
    2018: (
        "AMAZON_FASHION All_Beauty Appliances Arts_Crafts_and_Sewing Automotive Books CDs_and_Vinyl "
        "Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards "
        "Grocery_and_Gourmet_Food Home_and_Kitchen Industrial_and_Scientific Kindle_Store Luxury_Beauty "
        "Magazine_Subscriptions Movies_and_TV Musical_Instruments Office_Products Patio_Lawn_and_Garden "
        "Pet_Supplies Prime_Pantry Software Sports_and_Outdoors Tools_and_Home_Improvement Toys_and_Games "
        "Video_Games"
    ),
    2023: (
        "All_Beauty Amazon_Fashion Appliances Arts_Crafts_and_Sewing Automotive Baby_Products "
        "Beauty_and_Personal_Care Books CDs_and_Vinyl Cell_Phones_and_Accessories "
        "Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards Grocery_and_Gourmet_Food "
        "Handmade_Products Health_and_Household Health_and_Personal_Care Home_and_Kitchen "
        "Industrial_and_Scientific Kindle_Store Magazine_Subscriptions Movies_and_TV Musical_Instruments "
        "Office_Products Patio_Lawn_and_Garden Pet_Supplies Software Sports_and_Outdoors "
        "Subscription_Boxes Tools_and_Home_Improvement Toys_and_Games Unknown Video_Games"
    ),
}

# What the literature calls them.
AMAZON_SHORT_NAMES: Final[Mapping[str, str]] = {
    "sports-and-outdoors": "sports",
    "industrial-and-scientific": "scientific",
}


def amazon_name(category: str) -> str:
    """The dataset's name of a category, such as `amazon-gift-cards`."""
    kebab = category.lower().replace("_", "-").removeprefix("amazon-")
    return f"amazon-{AMAZON_SHORT_NAMES.get(kebab, kebab)}"


def _by_name() -> dict[str, dict[int, str]]:
    names: dict[str, dict[int, str]] = {}
    for release, categories in AMAZON_RELEASES.items():
        for category in categories.split():
            names.setdefault(amazon_name(category), {})[release] = category
    return dict(sorted(names.items()))


# Name of the dataset -> release -> the category as that release writes it.
AMAZON_CATEGORIES: Final[Mapping[str, Mapping[int, str]]] = _by_name()
