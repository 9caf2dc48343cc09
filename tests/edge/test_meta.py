from edge.store.meta import Meta


def test_a_value_is_made_once_and_kept(connection):
    meta = Meta(connection)
    assert meta.get_or_make("client", lambda: b"first") == b"first"
    assert meta.get_or_make("client", lambda: b"second") == b"first"
    meta.set("client", b"third")
    assert meta.get("client") == b"third"
    assert meta.get("absent") is None
