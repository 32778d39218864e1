"""Fuzz targets of the search: what is heard, replied and searched for."""

import sqlite3

from mimi_mqtt.store.search import fts_query, tsquery
from mimi_mqtt.store.words import MAX_ASKED, MAX_WORD_CHARS, MAX_WORDS, asked, indexed
from tests.fuzz.target import Target


def check_search(data: bytes) -> bool:
    """Words of any text: bounded, found by themselves, and never a sign of the query's language."""
    text = data.decode(errors="replace")
    words, wanted = indexed(text), asked(text)
    assert len(words) <= MAX_WORDS
    assert len(wanted.words) + len(wanted.prefixes) <= MAX_ASKED
    assert all(0 < len(word) <= MAX_WORD_CHARS for word in (*words, *wanted.words, *wanted.prefixes))
    assert bool(words) is bool(wanted)
    if not wanted:
        return False
    query = tsquery(wanted, [])
    assert query.count("'") == 2 * (len(wanted.words) + len(wanted.prefixes))
    assert "\\" not in query
    db = sqlite3.connect(":memory:")
    try:
        db.execute(
            "CREATE VIRTUAL TABLE turn_words USING fts5(words, detail=none, columnsize=0, "
            "tokenize=\"unicode61 remove_diacritics 0 tokenchars ':'\")"
        )
        db.execute("INSERT INTO turn_words (rowid, words) VALUES (1, ?)", (" ".join(words),))
        rows = db.execute("SELECT rowid FROM turn_words WHERE turn_words MATCH ?", (fts_query(wanted, []),))
        assert rows.fetchall() == [(1,)], "a text is not found by its own words"
    finally:
        db.close()
    return True


TARGETS = (
    Target(
        "search-words",
        check_search,
        (
            b"turn on the light",
            "打开客厅的灯 now".encode(),
            "Bật đèn phòng khách, Küchenlampe, СВЕТ, 電気をつけて, 거실에".encode(),
        ),
        (
            b'"',
            b"'",
            b"*",
            b" AND ",
            b":",
            b"\\",
            b"(",
            "ĳ".encode(),
            "ﷺ".encode(),
            "é".encode(),
            "의".encode(),
        ),
        512,
    ),
)
