"""Suggests which photos to label next: doubtful to a run's networks, and unlike each other.

Above `runs` and `reporting`, because it needs both.
"""

import csv
import dataclasses
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from c3tf import models
from c3tf.data import list_lines
from c3tf.errors import UserError
from c3tf.inference import choice, doubt, networks, photo_scores, reading
from c3tf.inference.choice import Chosen
from c3tf.inference.image_files import Input, find_images
from c3tf.inference.options import check_batches
from c3tf.io import files, leftovers, orientation, writable
from c3tf.labels import LabelMap
from c3tf.progress import Progress
from c3tf.reporting import suggestions as report
from c3tf.runs import checkpoints, labeled_photos
from c3tf.serving import saved_model

LIST_FILE, LABELED_FILE = "suggested.txt", "labeled_list.txt"
SCORES_FILE, PAGE_FILE = "scores.csv", "suggestions.html"
# What the page calls each way to choose.
_CHOICES = {
    choice.COVERAGE: "doubtful photos that stand for the most doubt around them",
    choice.K_CENTER: "doubtful photos that lie farthest from each other (greedy k-center)",
}
_NO_LINE = "its name cannot be a line of a list; rename it"
# A page of more photos is more than a browser, and a person, looks at.
_SHOWN = 100


@dataclasses.dataclass(frozen=True)
class SuggestionOptions:
    """How photos are suggested.

    Attributes:
        count: how many.
        labeled_list: names those that have labels; the run's own split when empty.
        batch_size: photos of one size at once.
        height: height that the networks see photos at; 0 keeps the photo's own.
        exif: what becomes of rotations that metadata note, one of `orientation.RULES`.
        choice: how the doubtful photos are chosen from, one of `choice.WAYS`.
        overwrite: replaces earlier suggestions.
    """

    count: int = 20
    labeled_list: str = ""
    batch_size: int = 1
    height: int = 0
    exif: str = orientation.DEFAULT
    choice: str = choice.COVERAGE
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"`--count` must be at least 1. Received: --count={self.count}")
        check_batches(self.batch_size, self.height)
        if self.exif not in orientation.RULES:
            raise UserError(
                f"`--exif` must be {', '.join(orientation.RULES)}. Received: --exif={self.exif}"
            )
        if self.choice not in choice.WAYS:
            raise UserError(
                f"`--choice` must be {' or '.join(choice.WAYS)}. Received: --choice={self.choice}"
            )


@dataclasses.dataclass(frozen=True)
class Suggestions:
    """What was suggested.

    Attributes:
        photos: paths below the folder of photos, in the order of their choice.
        scored: number of photos that were chosen from.
        labeled: number of photos that were left out, because they have labels.
        skipped: files that could not be read, with the reason.
        warning: what to mind before they are labeled; mostly nothing.
    """

    photos: list[str]
    scored: int
    labeled: int
    skipped: dict[Path, str]
    warning: str = ""


@dataclasses.dataclass(frozen=True)
class Judge:
    """The networks of a run, as far as they say how doubtful a photo is.

    Attributes:
        network: whose doubt is measured: the teacher where there is one.
        student: what it is held against; None where there is no teacher.
        thresholds: `(C,)` DCRS thresholds; None where there is no teacher.
        label_map: the classes.
        source: what it is, for people.
    """

    network: networks.ProbabilitiesAndFeatures
    student: networks.Probabilities | None
    thresholds: np.ndarray | None
    label_map: LabelMap
    source: Mapping[str, str]

    @property
    def known(self) -> tuple[str, ...]:
        """The parts of a photo's doubt that it can measure."""
        of_teacher = () if self.student is None else (photo_scores.DISAGREEMENT,)
        of_thresholds = () if self.thresholds is None else (photo_scores.BELOW,)
        return (*of_thresholds, *of_teacher, photo_scores.ENTROPY)


def suggest(
    model: str, images: str, output: str, options: SuggestionOptions | None = None
) -> Suggestions:
    """Suggests photos to label next and writes a list, scores and a page to a folder.

    Args:
        model: folder of a run, or one checkpoint.
        images: folder, file or pattern of photos; those with labels may be among them.
        output: folder to write to.
        options: how many, and how.

    Raises:
        UserError: model, photos or options cannot be used, or files are in the way.
    """
    options = models.checked_options(options or SuggestionOptions(), SuggestionOptions)
    _check_output(output, options.overwrite)
    found = find_images(images, exclude=[output])
    is_listed = {one: list_lines.is_line(_listed_name(one)) for one in found.inputs}
    inputs = [one for one in found.inputs if is_listed[one]]
    unlisted = {one.path: _NO_LINE for one in found.inputs if not is_listed[one]}
    if options.labeled_list:
        labeled = labeled_photos.of_list(options.labeled_list, inputs)
        judge, loaded = open_judge(model)
    else:
        judge, loaded = open_judge(model)
        labeled = labeled_photos.of_run(loaded.config, loaded.split, inputs)
    passed_over = labeled.found
    warning = ""
    if options.labeled_list != labeled_photos.NONE:
        try:
            passed_over |= labeled_photos.validating(loaded.config, inputs)
        except (UserError, OSError) as error:
            warning = (
                "Which photos validate the run cannot be told, so they may be among those that are "
                f"suggested: {str(error).rstrip('.')}."
            )
    free = len(inputs) - len(passed_over)
    if options.count > free:
        validating = len(passed_over - labeled.found)
        raise UserError(
            f"`--count` must be at most {free}: of {len(inputs)} photos {len(labeled.found)} have "
            f"a label and {validating} more validate the run. Received: --count={options.count}"
        )
    scan = _Scan(judge, options)
    # The network has not learned from those that validate: what is like them may be suggested.
    unseen = passed_over - labeled.found
    skipped = found.left_out | unlisted | scan.run([one for one in inputs if one not in unseen])
    pool = [place for place, one in enumerate(scan.inputs) if one not in labeled.found]
    known = [place for place, one in enumerate(scan.inputs) if one in labeled.found]
    if not pool:
        raise UserError(f"No photo can be suggested: none of {images} can be read.")
    sums, features = np.stack(scan.sums), np.stack(scan.features)
    by_part = photo_scores.parts(sums[pool], judge.known)
    total = photo_scores.doubt(by_part)
    count = min(options.count, len(pool))
    chosen = choice.choose(total, features[pool], count, features[known], options.choice)
    photos = [scan.inputs[place] for place in pool]
    scores = {"doubt": total, **by_part}
    names = [_listed_name(photos[one.index]) for one in chosen]
    _write_lists(output, names, labeled.lines)
    files.write_text(os.path.join(output, SCORES_FILE), scores_csv(photos, scores, chosen))
    page = _page(judge, options, photos, scores, chosen, len(passed_over), warning)
    files.write_text(os.path.join(output, PAGE_FILE), page)
    return Suggestions(names, len(pool), len(passed_over), skipped, warning)


def open_judge(model: str) -> tuple[Judge, checkpoints.LoadedNetwork]:
    """Opens the networks of a run, and what its checkpoint says of it.

    Raises:
        UserError: it is no run, or cannot be read.
    """
    if not os.path.exists(model):
        raise UserError(f"There is no model at {model}.")
    if saved_model.is_saved_model(model):
        raise UserError(
            "`--model` must name a run's folder or a checkpoint: an export holds one network and "
            f"no features to compare photos by. Received: --model={model}"
        )
    model = models.run_at(model, "--model")
    loaded = checkpoints.load_network(model)
    source = {"model": model, "step": f"{loaded.step:,}", "sha256": loaded.sha256}
    student = None
    network = loaded.model
    if loaded.thresholds is not None:
        student = networks.probabilities(loaded.model)
        network = checkpoints.load_network(loaded.path, "teacher").model
    try:
        measured = networks.probabilities_and_features(network)
    except ValueError as error:
        raise UserError(f"{model} holds a network without the layers of ours: {error}") from error
    return Judge(measured, student, loaded.thresholds, loaded.label_map, source), loaded


class _Scan:
    """One pass over photos: what is kept of each is its sums and features.

    Attributes:
        inputs: the photos that could be read, by name.
        sums: `(4, C)` of each, see `photo_scores.summer`.
        features: `(D,)` of each.
    """

    def __init__(self, judge: Judge, options: SuggestionOptions) -> None:
        self._options = options
        self._summer = photo_scores.summer(
            judge.network, judge.student, judge.thresholds, judge.label_map.num_classes
        )
        self.inputs: list[Input] = []
        self.sums: list[np.ndarray] = []
        self.features: list[np.ndarray] = []

    def run(self, photos: Sequence[Input]) -> dict[Path, str]:
        """Passes over photos and returns those that cannot be read, with the reason."""
        skipped: dict[Path, str] = {}
        report_done = Progress(len(photos), "photos")
        for batch in _read(photos, self._options, self._options.batch_size):
            if batch[0].problem:
                skipped[batch[0].item.path] = batch[0].problem
            else:
                images = tf.constant(np.stack([one.shown for one in batch]))
                sums, features = (found.numpy() for found in self._summer(images))
                self.inputs += [one.item for one in batch]
                self.sums += list(sums)
                self.features += list(features)
            report_done(len(self.inputs) + len(skipped))
        # Batches of mixed sizes come in another order; equal doubts must not depend on it.
        order = sorted(range(len(self.inputs)), key=lambda place: self.inputs[place].name)
        self.inputs, self.sums, self.features = (
            [held[place] for place in order] for held in (self.inputs, self.sums, self.features)
        )
        return skipped


def scores_csv(
    photos: Sequence[Input], scores: Mapping[str, np.ndarray], chosen: Sequence[Chosen]
) -> str:
    """Lays out the scores of all photos as CSV, the most doubtful first."""
    place_of = {one.index: (place, one) for place, one in enumerate(chosen, start=1)}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["photo", *scores, "suggested", "distance"])
    for index in np.argsort(-scores["doubt"], kind="stable").tolist():
        place, one = place_of.get(index, ("", None))
        distance = "" if one is None or np.isinf(one.distance) else f"{one.distance:.6f}"
        values = (f"{values[index]:.6f}" for values in scores.values())
        writer.writerow([_listed_name(photos[index]), *values, place, distance])
    return text.getvalue()


def _check_output(output: str, overwrite: bool) -> None:
    writable.check_folder(output)
    names = (LIST_FILE, LABELED_FILE, SCORES_FILE, PAGE_FILE)
    written = (os.path.join(output, name) for name in names)
    if not overwrite and (there := [path for path in written if os.path.exists(path)]):
        raise UserError(f"{there[0]} exists. Give another --output, or add --overwrite.")
    leftovers.sweep(output)


def _write_lists(output: str, names: Sequence[str], labeled: Sequence[str]) -> None:
    """Writes the suggested photos, and these behind what is labeled already."""
    files.write_text(os.path.join(output, LIST_FILE), "\n".join(names) + "\n")
    both = "\n".join([*labeled, *names]) + "\n"
    files.write_text(os.path.join(output, LABELED_FILE), both)


def _page(
    judge: Judge,
    options: SuggestionOptions,
    photos: Sequence[Input],
    scores: Mapping[str, np.ndarray],
    chosen: Sequence[Chosen],
    labeled: int,
    warning: str,
) -> str:
    facts = {
        **judge.source,
        "photos scored": f"{len(photos):,}",
        "seen by the network at": f"{options.height} rows" if options.height else "their own size",
        "photos with labels, left out": f"{labeled:,}",
        "suggested": f"{len(chosen):,}",
        "doubt": "mean rank by " + ", ".join(report.PARTS[name] for name in judge.known),
        "choice": f"{_CHOICES[options.choice]}, by pooled features",
    }
    if warning:
        facts["to mind"] = warning
    shown = chosen[:_SHOWN]
    if len(shown) < len(chosen):
        facts["shown here"] = f"the first {len(shown)}; {LIST_FILE} has all"
    by_input = {
        photos[one.index]: {name: float(values[one.index]) for name, values in scores.items()}
        for one in shown
    }
    drawn = _drawn(judge, options, by_input)
    return report.render(drawn, judge.label_map, facts, f"{len(chosen)} photos")


def _drawn(
    judge: Judge, options: SuggestionOptions, by_input: Mapping[Input, Mapping[str, float]]
) -> Iterator[report.Photo]:
    """Yields the photos of the page; they are read again, so that none had to be kept."""
    for (loaded,) in _read(list(by_input), options, 1):
        if loaded.problem:
            raise UserError(f"{loaded.item.path} has changed meanwhile: {loaded.problem}.")
        probabilities = judge.network(tf.constant(loaded.shown[np.newaxis]))[0].numpy()[0]
        class_map = probabilities.argmax(-1).astype(np.uint8)
        kept = None
        if judge.thresholds is not None:
            kept = doubt.pseudo_labels(probabilities, class_map, judge.thresholds)
        yield report.Photo(
            _listed_name(loaded.item),
            loaded.shown,
            class_map,
            doubt.entropy(probabilities),
            kept,
            by_input[loaded.item],
        )


def _read(
    photos: Sequence[Input], options: SuggestionOptions, batch_size: int
) -> Iterator[list[reading.Loaded]]:
    return reading.batches(photos, batch_size, options.height, options.exif)


def _listed_name(photo: Input) -> str:
    """Returns a photo's path below the folder that was searched."""
    return (Path(photo.name).parent / photo.path.name).as_posix()
