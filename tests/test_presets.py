"""The two presets: every question on which paper and authors' code differ, answered twice."""

import numpy as np
import pytest

import flag_files
import short_run
import tiny_network
from c3tf.config import Config, MethodConfig
from c3tf.nets import deeplab
from c3tf.runs import configs
from c3tf.training import builder

PAPER = "configs/presets/paper.flags"
AUTHORS = "configs/presets/authors_code.flags"

# Option: the paper's side and the authors' code's, as docs/fidelity.md has them.
DIFFERENT = {
    "scale_unlabeled": (True, False),
    "jitter_probabilities": ((0.5, 0.5, 0.5, 0.25), (1.0, 1.0, 1.0, 1.0)),
    "aspp_dilations": ((6, 12, 18, 24), (6, 12)),
    "stride_placement": ("weights", "1x1"),
    "max_pool_ceil": (False, True),
    "align_corners": (False, True),
    "loss_averaging": ("image", "group"),
    "contrast_scale": (1.0, 1.5),
    "labeled_keys": ("teacher", "student"),
    "contrast_exclude_self": (False, True),
    "contrast_skip_class_0": (False, True),
    "contrast_min_pixels": (1, 21),
    "supervised_share": (1.0, 0.9),
    "contrast_ramp_steps": (0, 250),
    "contrast_from_start": (False, True),
    "ema_warmup": (False, True),
    "backbone_lr_multiplier": (1.0, 0.1),
}
# Where the paper is silent, or read literally contradicts its own numbers (the class mean), and the
# authors' code is followed.
EQUAL = {
    "consistency_class_mean": True,
    "integer_degrees": True,
    "rotation_order": "authors",
    "jitter_strengths": (0.5, 0.5, 0.5, 0.25),
    "randaugment_probability": 0.5,
    "train_batch_norm": False,
    "gather_contrast_keys": True,
    "contrast_fill_up": True,
    "dcrs_start": 0.9,
    "consistency_ramp_start": "semi_supervised",
}


@pytest.mark.parametrize("path", [PAPER, AUTHORS])
def test_a_preset_answers_every_question_and_no_other(repository, path):
    assert flag_files.named(repository, path).keys() == DIFFERENT.keys() | EQUAL.keys()


def test_the_presets_differ_where_paper_and_code_do(repository):
    paper, authors = flag_files.read(repository, [f"--flagfile={PAPER}"], [f"--flagfile={AUTHORS}"])
    for name, (papers, codes) in DIFFERENT.items():
        assert flag_files.value(paper, name) == papers, name
        assert flag_files.value(authors, name) == codes, name
    for name, both in EQUAL.items():
        assert flag_files.value(paper, name) == flag_files.value(authors, name) == both, name
    assert flag_files.differences(paper, authors).keys() == DIFFERENT.keys()


def test_the_papers_preset_is_the_default_and_undoes_the_other(repository):
    paper, undone = flag_files.read(
        repository, [f"--flagfile={PAPER}"], [f"--flagfile={AUTHORS}", f"--flagfile={PAPER}"]
    )
    assert paper == undone == Config()


def test_experiment_files_hold_only_what_differs(repository):
    """A default stands in the schema; a file names it only over a file that it includes."""
    folder = repository / "configs"
    names = [path.relative_to(repository).as_posix() for path in folder.rglob("*.flags")]
    names = [name for name in names if not name.startswith(("configs/presets", "configs/evaluate"))]
    assert len(names) > 30
    included = [
        [f"--flagfile={(repository / name).parent / path}" for path in flag_files.included(text)]
        for name in names
        for text in [(repository / name).read_text()]
    ]
    before = flag_files.read(repository, *included)
    after = flag_files.read(repository, *([f"--flagfile={name}"] for name in names))
    for name, one, other in zip(names, before, after, strict=True):
        changed = flag_files.differences(one, other).keys()
        assert flag_files.named(repository, name).keys() == changed, name


def test_the_presets_go_with_every_experiment(repository):
    experiments = sorted(path.name for path in (repository / "configs").glob("*.flags"))
    assert len(experiments) >= 10
    for preset, side in ((PAPER, 0), (AUTHORS, 1)):
        answers = flag_files.read(
            repository,
            *(
                [f"--flagfile=configs/{experiment}", f"--flagfile={preset}"]
                for experiment in experiments
            ),
        )
        for experiment, answer in zip(experiments, answers, strict=True):
            if preset == AUTHORS and "v3plus" in experiment:
                # Their code is of DeepLab v2.
                assert "must go with --head=deeplab_v2" in str(answer)
                continue
            assert isinstance(answer, Config), (experiment, answer)
            for name, sides in DIFFERENT.items():
                assert flag_files.value(answer, name) == sides[side], (experiment, name)


def test_the_authors_supervised_phase_is_nine_epochs(repository):
    names = ("cityscapes_1_8", "bdd_1_8", "camvid_1_8")
    answers = flag_files.read(
        repository,
        *([f"--flagfile=configs/{name}.flags", f"--flagfile={AUTHORS}"] for name in names),
    )
    assert [config.first_semi_step for config in answers] == [2250, 4500, 270]


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory):
    return short_run.write(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("preset", [PAPER, AUTHORS])
def test_a_few_steps_with_each_preset(repository, tiny_set, preset):
    (config,) = flag_files.read(
        repository,
        [
            "--flagfile=configs/camvid_1_8.flags",
            f"--flagfile={preset}",
            *short_run.FLAGS,
            "--contrast_min_pixels=2",
        ],
    )
    seen = short_run.train(config, tiny_set)
    assert len(seen) == 4
    assert all(np.isfinite(value) for log in seen for value in log.values())
    # The authors contrast in the supervised phase as well.
    assert ("contrast" in seen[0]) == (preset == AUTHORS)
    assert seen[3]["contrast"] > 0
    assert seen[3]["consistency"] > 0


@pytest.mark.parametrize(("preset", "features"), [(PAPER, (32, 64)), (AUTHORS, (33, 65))])
def test_both_networks_are_those_of_the_preset(repository, preset, features):
    (config,) = flag_files.read(
        repository,
        [
            "--flagfile=configs/cityscapes_1_8.flags",
            f"--flagfile={preset}",
            "--backbone=resnet50",
            "--backbone_weights=random",
        ],
    )
    model = builder.build_model(config, tiny_network.LABEL_MAP)
    for network in (model.student, model.teacher):
        names = {layer.name for layer in network.layers}
        branches = [name for name in names if name.startswith("aspp_branch")]
        assert len(branches) == len(config.network.aspp_dilations)
        assert deeplab.aligns_corners(network) == (preset == AUTHORS)
        shapes = network.compute_output_shape((None, 256, 512, 3))
        assert shapes["logits"][1:3] == shapes["embedding"][1:3] == features
        strides = network.get_layer("backbone_conv3_block1_1_conv").strides
        # Random weights are laid out as PyTorch has them, unless the preset says where.
        assert strides == ((2, 2) if preset == AUTHORS else (1, 1))


def test_the_baseline_keeps_the_averaging_and_its_groups():
    """Nothing else of the method is the baseline's; without groups their size is not either."""
    options = {"mix_group": 2, "ema_warmup": True, "contrast_scale": 1.5}
    for averaging, group in (("group", 2), ("image", 4)):
        baseline = configs.baseline_of(Config().with_options(loss_averaging=averaging, **options))
        assert baseline.method == MethodConfig(
            name="supervised", loss_averaging=averaging, mix_group=group
        )


def test_the_baseline_by_itself_is_the_one_beside_its_method():
    """In one folder, so that whoever has trained one way may go on the other."""
    both = Config().with_options(output="out", baseline=True, supervised_steps=7, mix_group=2)
    alone = both.with_options(method="supervised", baseline=False)
    assert configs.configs_of(both)[0] == configs.configs_of(alone)[0]


def test_every_experiment_has_its_baseline_by_one_switch(repository):
    """Whatever its file asks of the method: a baseline beside it, the teacher's weights."""
    folder = repository / "configs"
    names = [*folder.glob("*.flags"), *folder.glob("rivals/*.flags")]
    assert len(names) >= 40
    answers = flag_files.read(
        repository, *([f"--flagfile={name}", "--method=supervised"] for name in names)
    )
    for name, answer in zip(names, answers, strict=True):
        assert isinstance(answer, Config), (name, answer)
        (run,) = configs.configs_of(answer.with_options(output="out"))
        assert (run.method.name, run.training.export_weights) == ("supervised", "student"), name


def test_the_baseline_of_a_rival_has_its_supervised_loss():
    rival = Config().with_options(method="classmix", classmix_weight=2.0, class_weights="w.json")
    assert configs.baseline_of(rival).method == MethodConfig(
        name="supervised", loss_averaging="batch", class_weights="w.json"
    )
