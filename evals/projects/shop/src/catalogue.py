"""The catalogue: products, found and priced."""

import sqlite3

SCHEMA = "create table if not exists products (id integer primary key, name text, cents integer)"


def connect(path):
    """Open the catalogue, and make it when it is new."""
    connection = sqlite3.connect(path)
    connection.execute(SCHEMA)
    return connection


def add(connection, name, cents):
    """Put a product into the catalogue and return its id."""
    cursor = connection.execute("insert into products (name, cents) values (?, ?)", (name, cents))
    connection.commit()
    return cursor.lastrowid


def search(connection, words):
    """Return (id, name, cents) of the products whose name has these words in it."""
    rows = connection.execute(f"select id, name, cents from products where name like '%{words}%' order by name")
    return rows.fetchall()


def price(connection, product):
    """Return a product's price in cents, None when there is no such product."""
    row = connection.execute("select cents from products where id = ?", (product,)).fetchone()
    return row[0] if row else None
