"""The options of the training: steps, optimizer, devices, and what is written where."""

import dataclasses

from c3tf.config.option import Resume, group

FREE = Resume.FREE

_schedule = group("Steps and optimizer")
_devices = group("Devices and precision")
_results = group("Results, checkpoints and logs")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """The schedule, the optimizer, and what is written where."""

    output: str = _results(
        "",
        "Directory of the results; a run has its own below it, named after --method.",
        resume=FREE,
    )
    steps: int = _schedule(25000, "Training steps in all.", at_least=1)
    global_batch_size: int = _schedule(
        32, "Images per step over all replicas; half of them labeled.", at_least=2
    )
    learning_rate: float = _schedule(0.00012, "Learning rate of Adam at the start.", above=0.0)
    poly_power: float = _schedule(
        0.9, "Power of the polynomial decay of the learning rate to 0.", at_least=0.0
    )
    backbone_lr_multiplier: float = _schedule(
        1.0, "Factor on the backbone's learning rate (authors' code: 0.1).", at_least=0.0
    )
    seed: int = _schedule(0, "Seed of everything but the split.", at_least=0, at_most=2**31 - 1)
    strategy: str = _devices(
        "auto",
        "`one` device, `mirrored` over all local ones, `multi_worker` over those of all hosts "
        "in TF_CONFIG, or `auto`: what TF_CONFIG and the number of GPUs suggest.",
        choices=("auto", "one", "mirrored", "multi_worker"),
        resume=FREE,
    )
    replicas: int = _devices(
        0,
        "Devices that --strategy=mirrored uses; 0 is all local GPUs.",
        at_least=0,
        resume=FREE,
    )
    allow_changed_flags: bool = _results(
        False,
        "Continue the run in --output with other flags than it was begun with; what changed is "
        "written to its events.jsonl.",
        resume=FREE,
    )
    precision: str = _devices(
        "float32",
        "What the networks compute in; weights and losses are float32 always. `mixed_float16` "
        "scales its gradients so that small ones survive.",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    jit: bool = _devices(
        False,
        "Compile the networks with XLA.",
        resume=FREE,
    )
    recompute: bool = _devices(
        False,
        "Keep few of the student's maps for the backward pass, which computes the others again: "
        "less memory for a longer step.",
        resume=FREE,
    )
    log_every: int = _results(
        50,
        "Steps between two lines of progress.",
        at_least=1,
        resume=FREE,
    )
    tensorboard: bool = _results(
        True,
        "Write TensorBoard events below the run's directory.",
        resume=FREE,
    )
    image_log_interval: int = _results(
        2500,
        "Steps between two sets of pictures in the TensorBoard events; 0 is none.",
        at_least=0,
        resume=FREE,
    )
    checkpoint_every: int = _results(
        500,
        "Steps between two checkpoints.",
        at_least=1,
        resume=FREE,
    )
    evaluate_every: int = _results(
        2500,
        "Steps between two evaluations; one at the end is always made.",
        at_least=1,
        resume=FREE,
    )
    keep_checkpoints: int = _results(
        2,
        "Newest checkpoints kept, beside the best.",
        at_least=1,
        resume=FREE,
    )
    export_weights: str = _results(
        "student",
        "Which network is exported at the end. The paper reports the student.",
        choices=("student", "teacher"),
        resume=FREE,
    )
    baseline: bool = _results(
        False,
        "Also train the supervised baseline on the same labels, and print both; with "
        "--method=supervised the run is that baseline.",
        resume=FREE,
    )
