"""Every option of a run, in sections: the only place where a default stands.

The absl flags are made from these classes (`absl_flags`), so a flag cannot exist that nothing
reads. Values are the paper's for Cityscapes unless the help says otherwise.
"""

import dataclasses
from typing import NamedTuple

from c3tf.config import networks
from c3tf.config.method import MethodConfig
from c3tf.config.methods import C3, METHODS, Needs
from c3tf.config.option import Resume, flag_name, group
from c3tf.config.training import TrainingConfig
from c3tf.config.values import ALL

FREE, NEVER = Resume.FREE, Resume.NEVER
# Pixels of a side, more than cameras have: beyond it TensorFlow ends with an error of its own.
_LARGEST_CROP = 8192

_data = group("Data")
_input = group("Input pipeline")
_geometry = group("Views: geometry")
_colors = group("Views: colours")
_network = group("Network")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which images a run sees."""

    data: str = _data(
        "",
        "Directory of a converted data set (it holds dataset.json).",
        resume=FREE,
    )
    prepare: str = _data(
        "none",
        "What to make when --data does not exist yet: nothing, or the embedded procedural scenes.",
        choices=("none", "street_scenes"),
        resume=FREE,
    )
    labeled: str = _data(
        ALL,
        "How many training images keep their labels: a count, or `all` (every image is then in "
        "both sets, the paper's full setting). Drawn with --split_seed from the sorted names.",
    )
    split_seed: int = _data(
        12345,
        "Seed of the labeled/unlabeled split; the paper's runs use 12345, 23456 and 34567.",
        at_least=0,
        at_most=2**32 - 1,
    )
    labeled_list: str = _data(
        "", "Text file that lists the labeled images, instead of --labeled and --split_seed."
    )
    unlabeled_source: str = _input(
        "memory",
        "Where the unlabeled images are read from: held in memory as compressed records (exact "
        "shuffling), or streamed from the shards through a shuffle buffer (any number of images).",
        choices=("memory", "stream"),
    )
    shuffle_buffer: int = _input(
        1024,
        "Records in the shuffle buffer; of no meaning without --unlabeled_source=stream.",
        at_least=1,
    )
    cache: str = _input(
        "none",
        "Where decoded images are kept, so that they are decoded once: nowhere, in memory, or in "
        "a file below --cache_dir (worth it for PNG records).",
        choices=("none", "memory", "disk"),
        resume=FREE,
    )
    cache_dir: str = _input(
        "",
        "Local directory of --cache=disk. It keeps one folder per data set, named after the "
        "contents; runs share it.",
        resume=FREE,
    )
    input_threads: int = _input(
        0,
        "Images that are prepared at the same time; 0 lets tf.data choose.",
        at_least=0,
        resume=FREE,
    )


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Weak and strong views (supplement, Table 1)."""

    crop_height: int = _geometry(
        256, "Height of the training crop, pixels.", at_least=1, at_most=_LARGEST_CROP
    )
    crop_width: int = _geometry(
        512, "Width of the training crop, pixels.", at_least=1, at_most=_LARGEST_CROP
    )
    flip: bool = _geometry(True, "Flip horizontally with probability 0.5.")
    max_rotation: float = _geometry(
        10.0, "Rotate by up to this many degrees to either side.", at_least=0.0, at_most=45.0
    )
    integer_degrees: bool = _geometry(
        True, "Draw whole degrees only (the paper does not say; the authors' code does)."
    )
    rotation_order: str = _geometry(
        "authors",
        "Rotate the image before the crop (`first`, corners show the image), or the crop itself "
        "(`last`, corners are empty); `authors`: unlabeled images first, labeled ones last.",
        choices=("first", "last", "authors"),
    )
    scales: tuple[float, ...] = _geometry(
        (), "Scales to draw from before the crop (0.75,1.0,1.25 on BDD100K).", at_least=0.1
    )
    scale_unlabeled: bool = _geometry(
        True, "Scale unlabeled images too; the authors' code loses their scale by a mistake."
    )
    jitter_strengths: tuple[float, ...] = _colors(
        (0.5, 0.5, 0.5, 0.25),
        "Strengths of the colour jitter: brightness, contrast, saturation, hue.",
        at_least=0.0,
    )
    jitter_probabilities: tuple[float, ...] = _colors(
        (0.5, 0.5, 0.5, 0.25),
        "Probabilities of the same four (the authors' code: 1,1,1,1).",
        at_least=0.0,
        at_most=1.0,
    )
    randaugment: bool = _colors(True, "Add RandAugment's colour operations to strong views.")
    randaugment_ops: int = _colors(2, "Operations drawn per image.", at_least=1)
    randaugment_magnitude: float = _colors(
        10.0, "Mean magnitude of an operation.", at_least=0.0, at_most=10.0
    )
    randaugment_std: float = _colors(0.5, "Deviation of the magnitude.", at_least=0.0)
    randaugment_probability: float = _colors(
        0.5, "Probability that a drawn operation is applied.", at_least=0.0, at_most=1.0
    )
    teacher_view: str = _colors(
        "weak", "View of unlabeled images for the teacher (Table 5).", choices=("weak", "strong")
    )
    student_view: str = _colors(
        "strong", "View of unlabeled images for the student (Table 5).", choices=("weak", "strong")
    )


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The segmentation network, shared by student and teacher."""

    backbone: str = _network(
        "resnet101",
        "Feature extractor.",
        choices=tuple(networks.BACKBONES),
        resume=NEVER,
    )
    head: str = _network(
        networks.DEEPLAB_V2,
        "What makes classes of features: DeepLab v2's ASPP (the paper's), or DeepLab v3+: ASPP "
        "with image pooling, and a decoder that adds features at stride 4.",
        choices=networks.HEADS,
        resume=NEVER,
    )
    backbone_weights: str = _network(
        "imagenet", "Initial weights of the backbone: `imagenet`, `random`, or a file."
    )
    output_stride: int = _network(
        8,
        "Input pixels per feature of the backbone, in each direction.",
        choices=networks.OUTPUT_STRIDES,
    )
    train_batch_norm: bool = _network(
        False,
        "Train the backbone's batch norm and update its statistics; otherwise it stays as loaded.",
    )
    train_head_batch_norm: bool = _network(
        True,
        "Train DeepLab v3+'s own batch norm, with statistics over all replicas; otherwise it does "
        "nothing.",
    )
    aspp_dilations: tuple[int, ...] = _network(
        (6, 12, 18, 24),
        "Dilations of the summed branches of DeepLab v2 (authors' code: 6,12); DeepLab v3+ has "
        "those published, 6,12,18 at output stride 16 and twice that at 8.",
        at_least=1,
    )
    stride_placement: str = _network(
        "weights",
        "Which convolution of a ResNet stage's first block has the stride: the first 1x1 (authors' "
        "code), the 3x3, or the one that the backbone weights were made for.",
        choices=("weights", "1x1", "3x3"),
    )
    max_pool_ceil: bool = _network(
        False,
        "Round the size of a ResNet's max-pooling up (authors' code), so that the features of "
        "256x512 pixels at stride 8 are 33x65 instead of 32x64.",
    )
    align_corners: bool = _network(
        False,
        "Resize logits with the corner features on the corner pixels (authors' code) instead of "
        "every feature in the middle of its pixels.",
    )
    embedding_dim: int = _network(
        256,
        "Channels of the projection head.",
        methods=(C3,),
        at_least=1,
        resume=NEVER,
    )


SECTIONS = {
    "data": DataConfig,
    "augment": AugmentConfig,
    "network": NetworkConfig,
    "method": MethodConfig,
    "training": TrainingConfig,
}


class Option(NamedTuple):
    """Where an option stands: its section, and its field there."""

    section: str
    field: dataclasses.Field


# All options by the names of their flags.
OPTIONS = {
    flag_name(field): Option(section, field)
    for section, options in SECTIONS.items()
    for field in dataclasses.fields(options)
}


@dataclasses.dataclass(frozen=True)
class Sections:
    """All options of a run, and what follows from them."""

    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    network: NetworkConfig = NetworkConfig()
    method: MethodConfig = dataclasses.field(default_factory=MethodConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)

    @property
    def trains_batch_norm(self) -> bool:
        """Whether any batch norm takes its moments over the replicas."""
        return self.network.train_batch_norm or self.trains_head_batch_norm

    @property
    def trains_head_batch_norm(self) -> bool:
        """Whether the head has batch norm, and trains it."""
        network = self.network
        return network.head == networks.DEEPLAB_V3PLUS and network.train_head_batch_norm

    @property
    def labeled_batch_size(self) -> int:
        """Labeled images per step over all replicas; as many unlabeled ones join them."""
        return self.training.global_batch_size // 2

    @property
    def needs(self) -> Needs:
        """What the method needs of data and networks."""
        return METHODS[self.method.name]

    @property
    def first_semi_step(self) -> int:
        """First step of the semi-supervised phase; the baseline, which has none, ends before it."""
        if not self.needs.unlabeled:
            return self.training.steps
        if not self.needs.supervised_start:
            return 0
        return round(self.method.supervised_share * self.method.supervised_steps)

    @property
    def uses_contrast(self) -> bool:
        """Whether the projection head and the contrastive loss exist."""
        return self.method.name == C3 and self.method.contrast_weight > 0

    @property
    def first_contrast_step(self) -> int:
        """Step from which the projection head is trained."""
        return 0 if self.method.contrast_from_start else self.first_semi_step

    @property
    def first_threshold(self) -> float:
        """The confidence from which on the teacher is believed, before anything moves it."""
        return getattr(self.method, self.needs.threshold)

    @property
    def averaging(self) -> str:
        """How the supervised loss averages over pixels, see `losses.supervised`."""
        return self.needs.averaging or self.method.loss_averaging

    @property
    def mixes(self) -> bool:
        """Whether images of one mix group are mixed among each other."""
        return self.needs.mixes and self.method.mixing != "none"

    @property
    def mixes_sets(self) -> bool:
        """Whether a batch's draws mix labeled and unlabeled images, see `MixPlan` (Eq. 4)."""
        return self.method.name == C3 and self.mixes

    @property
    def uses_groups(self) -> bool:
        """Whether images of one mix group must stay on one replica."""
        return self.mixes or self.averaging == "group"
