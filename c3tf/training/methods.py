"""The methods by the names of `--method`.

A further method is a subclass of `SemiSupervisedTrainer` in a file beside `step`, a line here, and
what it needs in `c3tf.config.methods`.
"""

from c3tf.config import methods
from c3tf.training.classmix import ClassMix
from c3tf.training.cutmix_mean_teacher import CutMixMeanTeacher
from c3tf.training.step import C3Trainer
from c3tf.training.trainer import SemiSupervisedTrainer, SupervisedTrainer
from c3tf.training.unimatch import UniMatch

TRAINERS: dict[str, type[SemiSupervisedTrainer]] = {
    methods.C3: C3Trainer,
    methods.SUPERVISED: SupervisedTrainer,
    methods.CUTMIX_MEAN_TEACHER: CutMixMeanTeacher,
    methods.CLASSMIX: ClassMix,
    methods.UNIMATCH: UniMatch,
}
