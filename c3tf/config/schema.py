"""The configuration of a run: frozen dataclasses that hold every default and every check.

The absl flags are made from these classes (`absl_flags`), so a flag cannot exist that nothing
reads and a default stands in one place. `Config` refuses bad and contradictory values when it is
made (`checks`). Values are the paper's for Cityscapes unless the help says otherwise.
"""

import dataclasses
from typing import Any

from c3tf.config.checks import ALL, ConfigError, check_combination, check_values
from c3tf.config.method import MethodConfig
from c3tf.config.option import option as _option


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which images a run sees."""

    data: str = _option("", "Directory of a converted data set (it holds dataset.json).")
    prepare: str = _option(
        "none",
        "What to make when --data does not exist yet: nothing, or the embedded procedural scenes.",
        choices=("none", "street_scenes"),
    )
    labeled: str = _option(
        ALL,
        "How many training images keep their labels: a count, or `all` (every image is then in "
        "both sets, the paper's full setting). Drawn with --split_seed from the sorted names.",
    )
    split_seed: int = _option(
        12345,
        "Seed of the labeled/unlabeled split; the paper's runs use 12345, 23456 and 34567.",
        at_least=0,
        at_most=2**32 - 1,
    )
    split: str = _option(
        "", "Text file that lists the labeled images, instead of --labeled and --split_seed."
    )
    unlabeled_source: str = _option(
        "memory",
        "Where the unlabeled images are read from: held in memory as compressed records (exact "
        "shuffling), or streamed from the shards through a shuffle buffer (any number of images).",
        choices=("memory", "stream"),
    )
    shuffle_buffer: int = _option(
        1024,
        "Records in the shuffle buffer; of no meaning without --unlabeled_source=stream.",
        at_least=1,
    )
    cache: str = _option(
        "none",
        "Where decoded images are kept, so that they are decoded once: nowhere, in memory, or in "
        "a file below --cache_dir (worth it for PNG records).",
        choices=("none", "memory", "disk"),
    )
    cache_dir: str = _option(
        "",
        "Local directory of --cache=disk. It keeps one folder per data set, named after the "
        "contents; runs share it.",
    )
    input_threads: int = _option(
        0, "Images that are prepared at the same time; 0 lets tf.data choose.", at_least=0
    )


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Weak and strong views (supplement, Table 1)."""

    crop_height: int = _option(256, "Height of the training crop, pixels.", at_least=1)
    crop_width: int = _option(512, "Width of the training crop, pixels.", at_least=1)
    flip: bool = _option(True, "Flip horizontally with probability 0.5.")
    max_rotation: float = _option(
        10.0, "Rotate by up to this many degrees to either side.", at_least=0.0, at_most=45.0
    )
    integer_degrees: bool = _option(
        True, "Draw whole degrees only (the paper does not say; the authors' code does)."
    )
    rotation_order: str = _option(
        "authors",
        "Rotate the image before the crop (`first`, corners show the image), or the crop itself "
        "(`last`, corners are empty); `authors`: unlabeled images first, labeled ones last.",
        choices=("first", "last", "authors"),
    )
    scales: tuple[float, ...] = _option(
        (), "Scales to draw from before the crop (0.75,1.0,1.25 on BDD100K).", at_least=0.1
    )
    scale_unlabeled: bool = _option(
        True, "Scale unlabeled images too; the authors' code loses their scale by a mistake."
    )
    jitter_strengths: tuple[float, ...] = _option(
        (0.5, 0.5, 0.5, 0.25),
        "Strengths of the colour jitter: brightness, contrast, saturation, hue.",
        at_least=0.0,
    )
    jitter_probabilities: tuple[float, ...] = _option(
        (0.5, 0.5, 0.5, 0.25),
        "Probabilities of the same four (the authors' code: 1,1,1,1).",
        at_least=0.0,
        at_most=1.0,
    )
    randaugment: bool = _option(True, "Add RandAugment's colour operations to strong views.")
    randaugment_ops: int = _option(2, "Operations drawn per image.", at_least=1)
    randaugment_magnitude: float = _option(
        10.0, "Mean magnitude of an operation.", at_least=0.0, at_most=10.0
    )
    randaugment_std: float = _option(0.5, "Deviation of the magnitude.", at_least=0.0)
    randaugment_probability: float = _option(
        0.5, "Probability that a drawn operation is applied.", at_least=0.0, at_most=1.0
    )
    teacher_view: str = _option(
        "weak", "View of unlabeled images for the teacher (Table 5).", choices=("weak", "strong")
    )
    student_view: str = _option(
        "strong", "View of unlabeled images for the student (Table 5).", choices=("weak", "strong")
    )


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The segmentation network, shared by student and teacher."""

    backbone: str = _option(
        "resnet101",
        "Feature extractor.",
        choices=("resnet101", "resnet50", "efficientnet_lite0"),
    )
    backbone_weights: str = _option(
        "imagenet", "Initial weights of the backbone: `imagenet`, `random`, or a file."
    )
    output_stride: int = _option(8, "Input pixels per feature, in each direction.", choices=(8, 16))
    train_batch_norm: bool = _option(
        False, "Train batch norm and update its statistics; otherwise it stays as loaded."
    )
    aspp_dilations: tuple[int, ...] = _option(
        (6, 12, 18, 24),
        "Dilations of the summed branches of the segmentation head (authors' code: 6,12).",
        at_least=1,
    )
    stride_placement: str = _option(
        "weights",
        "Which convolution of a ResNet stage's first block has the stride: the first 1x1 (authors' "
        "code), the 3x3, or the one that the backbone weights were made for.",
        choices=("weights", "1x1", "3x3"),
    )
    max_pool_ceil: bool = _option(
        False,
        "Round the size of a ResNet's max-pooling up (authors' code), so that the features of "
        "256x512 pixels at stride 8 are 33x65 instead of 32x64.",
    )
    align_corners: bool = _option(
        False,
        "Resize logits with the corner features on the corner pixels (authors' code) instead of "
        "every feature in the middle of its pixels.",
    )
    embedding_dim: int = _option(256, "Channels of the projection head.", at_least=1)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """The schedule, the optimizer, and what is written where."""

    output: str = _option(
        "", "Directory of the results; a run has its own below it, named after --method."
    )
    steps: int = _option(25000, "Training steps in all.", at_least=1)
    global_batch_size: int = _option(
        32, "Images per step over all replicas; half of them labeled.", at_least=2
    )
    learning_rate: float = _option(0.00012, "Learning rate of Adam at the start.", above=0.0)
    learning_rate_power: float = _option(
        0.9, "Power of the polynomial decay of the learning rate to 0.", at_least=0.0
    )
    backbone_rate: float = _option(
        1.0, "Factor on the backbone's learning rate (authors' code: 0.1).", at_least=0.0
    )
    seed: int = _option(0, "Seed of everything but the split.", at_least=0, at_most=2**31 - 1)
    strategy: str = _option(
        "auto",
        "`one` device, `mirrored` over all local ones, `multi_worker` over those of all hosts "
        "in TF_CONFIG, or `auto`: what TF_CONFIG and the number of GPUs suggest.",
        choices=("auto", "one", "mirrored", "multi_worker"),
    )
    replicas: int = _option(
        0, "Devices that --strategy=mirrored uses; 0 is all local GPUs.", at_least=0
    )
    allow_changed_flags: bool = _option(
        False,
        "Continue the run in --output with other flags than it was begun with; what changed is "
        "written to its events.jsonl.",
    )
    precision: str = _option(
        "float32",
        "What the networks compute in; weights and losses are float32 always. `mixed_float16` "
        "scales its gradients so that small ones survive.",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    jit: bool = _option(False, "Compile the networks with XLA.")
    log_every: int = _option(50, "Steps between two lines of progress.", at_least=1)
    tensorboard: bool = _option(True, "Write TensorBoard events below the run's directory.")
    image_log_interval: int = _option(
        2500, "Steps between two sets of pictures in the TensorBoard events; 0 is none.", at_least=0
    )
    checkpoint_every: int = _option(500, "Steps between two checkpoints.", at_least=1)
    evaluate_every: int = _option(
        2500, "Steps between two evaluations; one at the end is always made.", at_least=1
    )
    keep_checkpoints: int = _option(2, "Newest checkpoints kept, beside the best.", at_least=1)
    export_weights: str = _option(
        "student",
        "Which network is exported at the end. The paper reports the student.",
        choices=("student", "teacher"),
    )
    baseline: bool = _option(
        False, "Also train the supervised baseline on the same labels, and print both."
    )


SECTIONS = {
    "data": DataConfig,
    "augment": AugmentConfig,
    "network": NetworkConfig,
    "method": MethodConfig,
    "training": TrainingConfig,
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that decides what a run does.

    Raises:
        ConfigError: a value is out of range, or two values contradict each other.
    """

    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    network: NetworkConfig = NetworkConfig()
    method: MethodConfig = dataclasses.field(default_factory=MethodConfig)
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self) -> None:
        for section in SECTIONS:
            check_values(getattr(self, section))
        check_combination(self)

    @property
    def labeled_batch_size(self) -> int:
        """Labeled images per step over all replicas; as many unlabeled ones join them."""
        return self.training.global_batch_size // 2

    @property
    def supervised_steps(self) -> int:
        """Steps before the semi-supervised phase; all of them for the baseline."""
        if self.method.method == "supervised":
            return self.training.steps
        return round(self.method.supervised_share * self.method.supervised_steps)

    @property
    def uses_contrast(self) -> bool:
        """Whether the projection head and the contrastive loss exist."""
        return self.method.method == "c3" and self.method.contrast_weight > 0

    @property
    def first_contrast_step(self) -> int:
        """Step from which the projection head is trained."""
        return 0 if self.method.contrast_from_start else self.supervised_steps

    @property
    def uses_groups(self) -> bool:
        """Whether images of one mix group must stay on one replica."""
        mixes = self.method.method == "c3" and self.method.mixing != "none"
        return mixes or self.method.loss_averaging == "group"

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Returns plain data that `from_dict` turns back into an equal configuration."""
        plain = dataclasses.asdict(self)
        return {
            section: {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in options.items()
            }
            for section, options in plain.items()
        }

    @classmethod
    def from_dict(cls, data: dict[str, dict[str, Any]]) -> "Config":
        """Builds a configuration from what `to_dict` returned.

        Raises:
            ConfigError: an option is unknown, or a value is refused.
        """
        sections = {}
        for section, options in data.items():
            if section not in SECTIONS:
                raise ConfigError(f"Unknown section of the configuration: {section!r}.")
            names = {field.name for field in dataclasses.fields(SECTIONS[section])}
            if unknown := sorted(set(options) - names):
                raise ConfigError(f"Unknown options in section {section!r}: {unknown}.")
            sections[section] = SECTIONS[section](
                **{k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
            )
        return cls(**sections)

    def with_options(self, **options: Any) -> "Config":
        """Returns a copy with the named options, of whichever section, replaced."""
        data = self.to_dict()
        for name, value in options.items():
            owners = [section for section in data if name in data[section]]
            if not owners:
                raise ConfigError(f"Unknown option: {name!r}.")
            data[owners[0]][name] = value
        return Config.from_dict(data)
