"""Train ids of the classes that scenes are drawn with."""

from c3tf.labels import CITYSCAPES, IGNORE

TRAIN_ID = {name: i for i, name in enumerate(CITYSCAPES.class_names)}
# Things that stand in the street and belong to no class.
UNLABELED = IGNORE
