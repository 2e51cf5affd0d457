"""The progress line of a run: its speed, time left and losses."""

from typing import TextIO

from c3tf.progress import Line
from c3tf.training import statistics

Scalars = dict[str, float]


class Console:
    """Shows the scalars of each interval in one line."""

    def __init__(
        self, title: str, steps: int, labeled_batch_size: int, stream: TextIO | None = None
    ) -> None:
        """Creates the printer.

        Args:
            title: what is trained.
            steps: steps in all.
            labeled_batch_size: labeled images per step; the semi-supervised phase adds as many.
            stream: where to print; standard error when absent.
        """
        self._title, self._steps, self._labeled = title, steps, labeled_batch_size
        self._line = Line(steps, stream)

    def __call__(self, step: int, scalars: Scalars) -> None:
        """Prints one interval."""
        parts = statistics.headline(scalars)
        # The semi-supervised phase, which alone has parts to tell, adds as many unlabeled images.
        images, seconds = self._labeled * (2 if parts else 1), scalars["seconds_per_step"]
        # What matters most comes first: a narrow terminal cuts the end of the line.
        shown = [
            f"{self._title} {step}/{self._steps}",
            f"{_clock((self._steps - step) * seconds)} left",
            f"{images / seconds:.1f} images/s",
            f"loss {scalars['loss']:.3f}",
            *parts,
            f"learning rate {scalars['learning_rate']:.1e}",
        ]
        self._line.show(step, "  ".join(shown))


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
