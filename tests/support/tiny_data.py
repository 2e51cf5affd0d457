"""Data sets of a few small images, written as a converter would."""

import collections
import hashlib

import numpy as np
import tensorflow as tf

import tiny_network
from c3tf.data import manifest, tfrecord
from c3tf.labels import IGNORE, LabelMap


def pair(seed, size, label_size=None):
    """Draws an image `(H, W, 3)` and a label `(h, w)` with some ignored pixels."""
    rng = np.random.default_rng(seed)
    values = [*range(tiny_network.LABEL_MAP.num_classes), IGNORE]
    label = rng.choice(values, label_size or size).astype(np.uint8)
    return tiny_network.noise(seed, *size), label


def write(
    folder, pairs: dict, shards: int = 1, label_map: LabelMap = tiny_network.LABEL_MAP
) -> None:
    """Writes pairs (the label may be None) by name as the `val` split of a data set."""
    write_splits(folder, {"val": pairs}, shards, label_map)


def write_splits(
    folder, splits: dict, shards: int = 1, label_map: LabelMap = tiny_network.LABEL_MAP
) -> manifest.Manifest:
    """Writes pairs by split and name as a data set and returns its manifest."""
    described = {
        split: _write_split(folder, split, pairs, shards, label_map)
        for split, pairs in splits.items()
    }
    manifest.write(
        str(folder), manifest.Manifest("tiny", "tests", "1", "noise", {}, label_map, described)
    )
    return manifest.load(str(folder))


def _write_split(folder, split, pairs, shards, label_map):
    names = sorted(pairs)
    described = []
    for index in range(shards):
        file = folder / f"{split}-{index:05d}-of-{shards:05d}.tfrecord"
        part = names[index::shards]
        with tf.io.TFRecordWriter(str(file)) as writer:
            for name in part:
                writer.write(tfrecord.serialize(_record(name, *pairs[name])))
        data = file.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        described.append(manifest.Shard(file.name, len(part), len(data), digest))
    (folder / f"{split}.names.txt").write_text("".join(f"{name}\n" for name in names))
    return manifest.SplitInfo(
        count=len(names),
        labeled=sum(label is not None for _, label in pairs.values()),
        names_file=f"{split}.names.txt",
        shards=tuple(described),
        class_pixels=(0,) * label_map.num_classes,
        ignored_pixels=0,
        image_sizes=dict(
            collections.Counter("{1}x{0}".format(*i.shape) for i, _ in pairs.values())
        ),
    )


def _record(name, image, label):
    return tfrecord.Record(
        image=tfrecord.encode_png(image),
        image_format="png",
        label=None if label is None else tfrecord.encode_png(label),
        name=name,
        height=image.shape[0],
        width=image.shape[1],
        dataset="tiny",
        source=f"{name}.png",
    )
