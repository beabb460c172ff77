"""The web page of the shop."""

from html import escape
from urllib.parse import parse_qs

import catalogue


def results(connection, query):
    """Return the page that answers /search?q=…"""
    words = parse_qs(query).get("q", [""])[0]
    found = catalogue.search(connection, words)
    items = "".join(f"<li>{escape(name)}: {cents / 100:.2f}</li>" for _, name, cents in found)
    return f"<h1>{escape(words)}</h1><ul>{items}</ul>"
