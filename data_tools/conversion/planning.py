"""The assignment of images to shards.

It depends only on the names and the options, never on who writes or on how many workers, so every
way of converting gives the same bytes.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator

from c3tf.io import files
from data_tools.conversion import notes
from data_tools.conversion.example import Converted, Outcome, SourcePair

_MEGABYTE = 10**6
# Images converted ahead of time to learn how large a record is.
_SAMPLE = 8


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """A shard to write: its split, its file name and the images that go into it, in order."""

    split: str
    name: str
    pairs: tuple[SourcePair, ...]


def make_plan(
    pairs: Iterable[SourcePair],
    work_dir: str,
    shard_mb: int,
    convert_all: Callable[[Iterable[SourcePair]], Iterator[Outcome]],
) -> list[ShardPlan]:
    """Assigns every image to a shard, in an order shuffled by the hashes of the names.

    Args:
        pairs: all images.
        work_dir: where the number of shards is noted: a stopped run keeps it, even if a damaged
            file was replaced since.
        shard_mb: approximate size of a shard in megabytes.
        convert_all: converts the few images whose size is measured.

    Returns:
        The shards of all splits.

    Raises:
        DataError: what a stopped run noted is damaged.
    """
    by_split: dict[str, list[SourcePair]] = {}
    for pair in pairs:
        by_split.setdefault(pair.split, []).append(pair)
    plan = []
    for split, part in by_split.items():
        part.sort(key=lambda pair: hashlib.sha256(pair.name.encode("utf-8")).digest())
        path = files.join(work_dir, f"{split}.plan.json")
        if not files.exists(path):
            count = count_shards(len(part), convert_all(part[:_SAMPLE]), shard_mb)
            files.write_text(path, json.dumps({"num_shards": count}))
        total = _num_shards(path, len(part))
        for index in range(total):
            low, high = (len(part) * k // total for k in (index, index + 1))
            name = f"{split}-{index:05d}-of-{total:05d}.tfrecord"
            plan.append(ShardPlan(split, name, tuple(part[low:high])))
    return plan


def _num_shards(path: str, most: int) -> int:
    """Reads how many shards a split has: 1 to `most`."""
    total = notes.read_json(path).get("num_shards")
    if not isinstance(total, int) or not 1 <= total <= most:
        raise notes.damaged(path, f"it notes {total!r} shards")
    return total


def count_shards(count: int, sample: Iterable[Outcome], shard_mb: int) -> int:
    """Returns how many shards of `shard_mb` megabytes `count` images fill, judged by a sample."""
    records = [result.record for result in sample if isinstance(result, Converted)]
    sizes = [len(record.image) + len(record.label or b"") for record in records]
    total = count * sum(sizes) / max(len(sizes), 1)
    return min(count, max(1, math.ceil(total / (shard_mb * _MEGABYTE))))
