"""From photos and a few labels to a better model, without a person: the whole loop.

PYTHONPATH=. python examples/label_loop.py --output=loop              # minutes on two CPU cores
PYTHONPATH=. python examples/label_loop.py --output=loop --steps=20   # to see it work

(Without PYTHONPATH where c3tf is installed.)
Draws street scenes, labels some of them as a person would in labelme (the truth, as polygons),
trains, lets `suggest` choose what to label next, labels that, trains again, exports to ONNX where
that is installed, and predicts a video made of the validation images. Every step is a command of
c3tf, printed before it runs; with photos of your own you label in an editor where this copies the
truth.
"""

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from c3tf.evaluation.result import EvaluationResult
from c3tf.inference import labelme
from c3tf.labels import CITYSCAPES

NETWORK = (
    "--backbone=efficientnet_lite0",
    "--output_stride=16",
    "--crop_height=112",
    "--crop_width=224",
    "--global_batch_size=8",
    "--supervised_steps=10%",
    "--consistency_weight=57",
    "--consistency_ramp_steps=16.7%",
    "--learning_rate=0.001",
    "--backbone_lr_multiplier=0.2",
    "--labeled=all",
)
FRAMES_PER_SECOND = 10


def main() -> None:
    """Plays the loop."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", type=Path, required=True, help="an empty or missing folder")
    parser.add_argument("--count", type=int, default=12, help="photos that are labeled at a time")
    parser.add_argument("--scenes", type=int, default=120, help="photos in all")
    parser.add_argument("--steps", type=int, default=600, help="training steps of each run")
    chosen = parser.parse_args()
    loop = Loop(chosen.output, chosen.steps)
    loop.draw(chosen.count, chosen.scenes)

    # A first model from a few labels.
    labeled = sorted(path.stem for path in loop.photos.glob("labeled-*.jpg"))
    first = loop.train("first", labeled)

    # The photos that it is most in doubt about, and that differ from each other.
    run("suggest", f"--model={first}", f"--images={loop.photos}", f"--count={chosen.count}",
        f"--labeled_list={loop.names('first', labeled)}",
        f"--output={loop.folder / 'next'}")  # fmt: skip
    listed = (loop.folder / "next" / "suggested.txt").read_text().split()
    suggested = [Path(name).stem for name in listed]
    second = loop.train("second", labeled + suggested)

    # Out into the world.
    kind = "onnx" if importlib.util.find_spec("tf2onnx") else "saved_model"
    run("export", f"--model={second}", f"--format={kind}", f"--output={loop.folder / 'exported'}")
    run("predict", f"--model={second}", f"--video={loop.film()}", "--show=beside",
        f"--output={loop.folder / 'predicted.mp4'}")  # fmt: skip
    for name, model in (("first", first), ("second", second)):
        results = json.loads((model / "results.json").read_text())
        found = EvaluationResult.from_json(results["student"])
        print(f"{name}: mean IoU {found.mean_iou():.2%}")


class Loop:
    """The folders of the loop.

    Attributes:
        folder: all of them.
        photos: the photos that may be labeled.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        """Makes the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            sys.exit(f"{folder} is not empty. Choose another --output, or delete it.")
        self.folder, self._steps = folder, steps
        self._raw = folder / "raw"
        self.photos = self._raw / "images" / "10k" / "train"
        self._truth = self._raw / "labels" / "sem_seg" / "masks"

    def draw(self, count: int, scenes: int) -> None:
        """Draws the photos, `count` of them in mild weather."""
        run("data", "street_scenes", f"--output={self._raw}", f"--num_labeled={count}",
            f"--num_unlabeled={scenes - count}", "--num_val=30")  # fmt: skip

    def train(self, name: str, labeled: list[str]) -> Path:
        """Draws the labels as polygons, converts, and trains; returns the run."""
        drawn, data = self.folder / f"{name}_polygons", self.folder / f"{name}_data"
        drawn.mkdir()
        for stem in labeled:
            # Here a person would draw.
            truth = np.asarray(Image.open(self._truth / "train" / f"{stem}.png"))
            labelme.write(drawn / f"{stem}.json", truth, CITYSCAPES, self.photos / f"{stem}.jpg")
        masks = self.folder / f"{name}_masks"
        run("data", "polygons", "--format=labelme", f"--annotations={drawn}",
            f"--images={self.photos}", "--label_map=cityscapes",
            f"--output={masks}")  # fmt: skip
        # The validation masks are whole already, in the ids of the drawn ones.
        run("data", "folder", f"--images={self.photos}", f"--masks={masks / 'masks'}",
            f"--val_images={self._raw / 'images' / '10k' / 'val'}",
            f"--val_masks={self._raw_ids('val')}", f"--unlabeled={self.photos}",
            f"--label_map={masks / 'label_map.json'}", f"--output={data}")  # fmt: skip
        output = self.folder / f"{name}_run"
        run("train", f"--data={data}", f"--steps={self._steps}", *NETWORK, f"--output={output}")
        return output / "c3"

    def names(self, name: str, labeled: list[str]) -> Path:
        """Writes the list of photos that have labels."""
        path = self.folder / f"{name}_labeled.txt"
        path.write_text("\n".join(f"{stem}.jpg" for stem in labeled) + "\n")
        return path

    def film(self) -> Path:
        """Makes a video of the validation images."""
        path = self.folder / "val.mp4"
        images = sorted((self._raw / "images" / "10k" / "val").glob("*.jpg"))
        height, width = cv2.imread(str(images[0])).shape[:2]
        code = cv2.VideoWriter_fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(path), code, FRAMES_PER_SECOND, (width, height))
        for image in images:
            writer.write(cv2.imread(str(image)))
        writer.release()
        return path

    def _raw_ids(self, split: str) -> Path:
        """Copies the true masks with the ids that Cityscapes' label map has, not train ids."""
        folder = self.folder / f"{split}_masks"
        if folder.exists():
            return folder
        table = np.full(256, 0, np.uint8)
        table[: CITYSCAPES.num_classes] = CITYSCAPES.raw_ids
        beside = self.folder / f"{split}_masks.half"
        beside.mkdir()
        for path in (self._truth / split).glob("*.png"):
            Image.fromarray(table[np.asarray(Image.open(path))]).save(beside / path.name)
        return Path(shutil.move(beside, folder))


def run(*words: str) -> None:
    """Runs a command of c3tf, printed as one would type it."""
    print("$ c3tf", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", "c3tf", *words])
    if done.returncode:
        sys.exit(f"`c3tf {words[0]}` failed; see above.")


if __name__ == "__main__":
    main()
