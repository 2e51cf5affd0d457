"""The options of the methods: a side for every question on which paper and authors' code differ."""

import dataclasses

from c3tf.config.methods import C3, CLASSMIX, CUTMIX_MEAN_TEACHER, METHODS, UNIMATCH
from c3tf.config.option import Resume, group

# Values of `--class_weights` that are no file.
UNWEIGHTED, INVERSE_FREQUENCY = "none", "inverse_frequency"

_method = group("Method")
_own = group("Method", methods=(C3,))
_consistency = group("Consistency loss and DCRS", methods=(C3,))
_contrast = group("Contrastive loss", methods=(C3,))
_mean_teacher = group("CutMix mean teacher", methods=(CUTMIX_MEAN_TEACHER,))
_classmix = group("ClassMix", methods=(CLASSMIX,))
_unimatch = group("UniMatch", methods=(UNIMATCH,))


@dataclasses.dataclass(frozen=True)
class MethodConfig:
    """C3-SemiSeg (sections 3.2 to 3.5 of the paper), and the methods it is compared with."""

    name: str = _method(
        C3,
        "`c3` is the paper's method, `supervised` its baseline: the same steps on the same labels. "
        "`cutmix_mean_teacher` (French et al., 2020), `classmix` (2021) and `unimatch` (2023) are "
        "its rivals.",
        choices=tuple(METHODS),
        flag="method",
        resume=Resume.NEVER,
    )
    supervised_steps: int = _own(
        2500,
        "Steps of purely supervised learning at the start: ten epochs.",
        at_least=0,
        share_of_steps=True,
    )
    supervised_share: float = _own(
        1.0,
        "Share of --supervised_steps that is made. The authors' code ends after nine of the ten "
        "epochs: 0.9.",
        above=0.0,
        at_most=1.0,
    )
    ema_decay: float = _method(
        0.99,
        "alpha: decay of the teacher's moving average.",
        methods=(C3, CUTMIX_MEAN_TEACHER, CLASSMIX),
        at_least=0.0,
        below=1.0,
    )
    ema_warmup: bool = _own(
        False, "Limit alpha to 1 - 1/(t + 1), t steps after the teacher began (authors' code)."
    )
    mixing: str = _own(
        "cross_set",
        "Who is mixed by CutMix (Table 6): labeled with unlabeled images, only images of the same "
        "set, or nobody.",
        choices=("cross_set", "intra_set", "none"),
    )
    mix_group: int = _method(
        4,
        "Labeled images (and as many unlabeled ones) that are mixed among each other: one GPU's "
        "in the authors' code. A group stays on one replica. Rivals mix the unlabeled ones.",
        at_least=1,
    )
    loss_averaging: str = _own(
        "image",
        "Eq. 1 and 2: mean over the valid pixels of each image and then over images; of each mix "
        "group and then over groups (authors' code, where a group is one GPU's images); or over "
        "all valid pixels of the batch.",
        choices=("image", "group", "batch"),
    )
    class_weights: str = _method(
        UNWEIGHTED,
        "Weights of the classes in the supervised loss: `none`, `inverse_frequency` (by the pixels "
        "of all training labels; their mean over these pixels is 1), or a JSON file with a weight "
        "for every class by name.",
    )
    consistency_weight: float = _consistency(
        50.0,
        "lambda1: weight of the consistency loss after its ramp; at 0 it is only reported.",
        at_least=0.0,
    )
    consistency_ramp_steps: int = _consistency(
        4000, "Length of lambda1's sigmoid ramp.", at_least=0, share_of_steps=True
    )
    consistency_ramp_start: str = _consistency(
        "semi_supervised",
        "Where lambda1's ramp begins: with the semi-supervised phase (authors' code), or with the "
        "training, so that part of it is over when the loss begins.",
        choices=("semi_supervised", "training"),
    )
    consistency_class_mean: bool = _consistency(
        True,
        "Divide the consistency loss by the number of classes, which lambda1 = 50 belongs to "
        "(authors' code); `false` is Eq. 2 read literally, a sum over classes.",
    )
    dcrs_ratio: float = _consistency(
        0.8,
        "s: share of each class's pixels that DCRS keeps; 1 turns it off.",
        above=0.0,
        at_most=1.0,
    )
    dcrs_decay: float = _consistency(
        0.9, "beta: decay of the class thresholds' moving average.", at_least=0.0, below=1.0
    )
    dcrs_start: float = _consistency(
        0.9, "Class thresholds before the first update.", at_least=0.0, at_most=1.0
    )
    contrast_weight: float = _contrast(
        0.1, "lambda2: weight of the contrastive loss; 0 drops it with its head.", at_least=0.0
    )
    contrast_ramp_steps: int = _contrast(
        0,
        "Length of a sigmoid ramp of lambda2, from the start of the training; 0 keeps lambda2 "
        "constant (authors' code: 250 steps, 1000 counts advanced by 4 GPUs a step).",
        at_least=0,
        share_of_steps=True,
    )
    contrast_from_start: bool = _contrast(
        False,
        "Contrast labeled pixels in the supervised phase already, with the student's own keys "
        "(authors' code).",
    )
    temperature: float = _contrast(0.15, "tau of the contrastive loss.", above=0.0)
    contrast_samples: int = _contrast(
        20, "Pixels sampled per class and image for the contrastive loss.", at_least=1
    )
    contrast_sampling: str = _contrast(
        "segmentation_aware",
        "Half of the samples where the segmentation is wrong, or all at random (Table 4).",
        choices=("segmentation_aware", "random"),
    )
    contrast_fill_up: bool = _contrast(
        True,
        "Where hard or easy pixels of a class are fewer than half of the samples, take more of the "
        "other kind (authors' code).",
    )
    contrast_sources: str = _contrast(
        "both",
        "Which images give samples (Table 4).",
        choices=("both", "labeled", "unlabeled"),
    )
    labeled_keys: str = _contrast(
        "teacher",
        "Whose embeddings are the keys of labeled pixels: the teacher's (Eq. 5) or the student's "
        "own, detached (authors' code).",
        choices=("teacher", "student"),
    )
    gather_contrast_keys: bool = _contrast(
        True,
        "Contrast with the keys of all replicas; otherwise each replica has only its own, and the "
        "loss depends on their number.",
    )
    contrast_exclude_self: bool = _contrast(
        False, "A pixel is not its own positive (authors' code)."
    )
    contrast_min_pixels: int = _contrast(
        1,
        "Pixels that a class needs in an image, at feature resolution, to be sampled there "
        "(authors' code: 21).",
        at_least=1,
    )
    contrast_skip_class_0: bool = _contrast(
        False, "Leave class 0 out of the contrastive loss (authors' code)."
    )
    contrast_scale: float = _contrast(
        1.0, "Factor on the contrastive loss (authors' code: tau / 0.1 = 1.5).", above=0.0
    )
    mean_teacher_weight: float = _mean_teacher(
        1.0, "Weight of the squared distance between student and teacher.", above=0.0
    )
    mean_teacher_threshold: float = _mean_teacher(
        0.97,
        "The share of pixels on which the teacher is at least this confident scales that loss.",
        at_least=0.0,
        at_most=1.0,
    )
    classmix_weight: float = _classmix(
        1.0, "lambda: weight of the cross-entropy with the teacher's classes.", above=0.0
    )
    classmix_threshold: float = _classmix(
        0.968,
        "The share of pixels on which the teacher is at least this confident scales that loss.",
        at_least=0.0,
        at_most=1.0,
    )
    unimatch_threshold: float = _unimatch(
        0.95,
        "tau: only pixels that are predicted with this confidence count (the authors' second code "
        "has 0 on Cityscapes).",
        at_least=0.0,
        at_most=1.0,
    )
    unimatch_feature_weight: float = _unimatch(
        0.5, "lambda: weight of the loss under dropped features.", at_least=0.0
    )
    unimatch_strong_weight: float = _unimatch(
        0.5, "mu: weight of the two strong views' losses, half of it each.", at_least=0.0
    )
    unimatch_dropout: float = _unimatch(
        0.5, "Share of the feature channels that is dropped.", at_least=0.0, below=1.0
    )
