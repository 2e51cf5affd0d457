"""Which rows of the metadata belong to which shards and names."""

import numpy as np

from c3tf.data.record_reader import RecordMetadata

METADATA = RecordMetadata(
    names=["d", "b", "a", "c", "e"],
    sizes=np.zeros((5, 2), np.int64),
    has_label=np.ones(5, bool),
    shards=np.array([0, 0, 1, 2, 1]),
)


def test_rows_are_those_of_the_shards_in_order_of_names():
    assert METADATA.rows(None, range(3)) == [2, 1, 3, 0, 4]
    assert METADATA.rows(None, range(1, 2)) == [2, 4]
    assert METADATA.rows({"e", "d"}, range(2)) == [0, 4]
    assert METADATA.rows({"c"}, range(2)) == []
    assert METADATA.rows(None, range(0)) == []
