"""The writer of TFRecord shards, which are there whole or not at all.

Imports TensorFlow: only processes that write shards come here.
"""

import uuid
from collections.abc import Iterable

import tensorflow as tf

from c3tf.data import tfrecord
from c3tf.data.manifest import Shard
from c3tf.io import files
from data_tools.conversion import notes
from data_tools.conversion.example import Converted, Outcome
from data_tools.conversion.output import OutputError

# What a TFRecord file holds beside each record: its length (8 bytes) and two checksums (4 each).
_FRAME = 16


def write_shard(data_dir: str, work_dir: str, name: str, outcomes: Iterable[Outcome]) -> None:
    """Writes one shard beside its place, renames it and notes that it is finished.

    Args:
        data_dir: where the shard ends up.
        work_dir: where it is written, and where the notes are kept.
        name: file name of the shard.
        outcomes: of its images.

    Raises:
        OutputError: the output cannot be written, e.g. the disk is full.
    """
    # A name of its own: a stopped run may have left a piece of this shard, and Beam may try a shard
    # twice at a time.
    beside = files.join(work_dir, f"{name}.{uuid.uuid4().hex}")
    tally = notes.Tally()
    length = 0
    try:
        with tf.io.TFRecordWriter(beside) as writer:
            for outcome in outcomes:
                if isinstance(outcome, Converted):
                    serialized = tfrecord.serialize(outcome.record)
                    writer.write(serialized)
                    length += len(serialized) + _FRAME
                tally.add(outcome)
        written = files.size(beside)
        if written != length:
            raise OSError(f"{written} bytes were stored instead of {length}")
        shard = Shard(name, len(tally.names), length, files.sha256(beside))
        # The notes are flushed: what they call finished must be on the disk before them.
        files.sync(beside)
        files.rename(beside, files.join(data_dir, name))
        notes.write(work_dir, tally.notes(shard))
    except (OSError, tf.errors.OpError) as error:
        raise OutputError(
            f"{files.join(data_dir, name)} cannot be written: {error}. Make room or mend the "
            "directory, and run the same command again; it continues."
        ) from error
