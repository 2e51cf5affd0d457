"""What each `--method` needs of data, networks and mixing: the one place to declare a new one."""

import dataclasses

C3, SUPERVISED = "c3", "supervised"
CUTMIX_MEAN_TEACHER, CLASSMIX, UNIMATCH = "cutmix_mean_teacher", "classmix", "unimatch"


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a method needs.

    Attributes:
        source: where it was published.
        unlabeled: unlabeled images: it has a semi-supervised phase.
        supervised_start: `--supervised_steps` on labels alone before that phase.
        teacher: a second network, the moving average of the student.
        mixes: images of a mix group are mixed among each other.
        strong_views: the student's views of an unlabeled image.
        mixes_classes: what is pasted depends on the classes that its labeler sees.
        averaging: how Eq. 1 averages over pixels; empty where `--loss_averaging` says it.
        threshold: field of the method's options that holds the first confidence thresholds.
    """

    source: str
    unlabeled: bool = True
    supervised_start: bool = False
    teacher: bool = True
    mixes: bool = True
    strong_views: int = 1
    mixes_classes: bool = False
    averaging: str = ""
    threshold: str = "dcrs_start"


METHODS = {
    C3: Needs("C3-SemiSeg (ICCV 2021)", supervised_start=True),
    SUPERVISED: Needs("the baseline", unlabeled=False, teacher=False, mixes=False),
    CUTMIX_MEAN_TEACHER: Needs(
        "French et al. (BMVC 2020)", averaging="batch", threshold="mean_teacher_threshold"
    ),
    CLASSMIX: Needs(
        "ClassMix (WACV 2021)",
        mixes_classes=True,
        averaging="batch",
        threshold="classmix_threshold",
    ),
    UNIMATCH: Needs(
        "UniMatch (CVPR 2023)",
        teacher=False,
        strong_views=2,
        averaging="batch",
        threshold="unimatch_threshold",
    ),
}
