# %% [markdown]
# # c3tf in a notebook
#
# Data, preview, training, predictions, export: five cells of the Python front door. This file is a
# notebook in percent format: VS Code, PyCharm and Spyder run its cells, `jupytext --to ipynb
# notebook.py` makes an .ipynb of it, and `python notebook.py` runs it from top to bottom (two
# minutes on two CPU cores). It needs c3tf installed, or from the repository
# `PYTHONPATH=. python examples/notebook.py`.

# %%
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
from PIL import Image

import c3tf

# Enough to see that it works; `configs/demo.flags` alone says 600 steps of 252 scenes.
STEPS = 40

# %% [markdown]
# ## Data
#
# Drawn street scenes, four of them labeled, converted as one's own images would be
# (`python -m data_tools.folder`, or `cityscapes`, `bdd100k`, `camvid`).


# %%
def run(module: str, *arguments: str) -> None:
    """Runs one of the commands that make data, which want a process of their own."""
    subprocess.run([sys.executable, "-m", f"data_tools.{module}", *arguments], check=True)


counts = ["--num_labeled=4", "--num_unlabeled=12", "--num_val=4", "--width=224", "--height=112"]
run("street_scenes", "--output=notebook/raw", *counts)
run("bdd100k", "--source=notebook/raw", "--output=notebook/scenes")

# %% [markdown]
# ## An experiment
#
# A flag file and what differs from it, by the names of the flags (`python -m c3tf.train --helpfull`
# lists them). Mistakes are refused here, before anything runs.

# %%
experiment = c3tf.Experiment.from_flags(
    "configs/demo.flags",
    data="notebook/scenes",
    labeled_list="notebook/raw/splits/labeled.txt",
    output="notebook/run",
    prepare="none",
    baseline=False,
    steps=STEPS,
    supervised_steps=STEPS // 2,
    evaluate_every=STEPS,
    checkpoint_every=STEPS,
    log_every=10,
)

# %% [markdown]
# What the networks will see: weak and strong views, and the mixes of both sets.

# %%
sheet = experiment.preview(rows=2)
sheet.save("notebook/preview.png")
sheet

# %% [markdown]
# ## Training
#
# Any Keras callback follows the run, MLflow's or this one. Run again, the cell goes on with a run
# that was interrupted.


# %%
class Losses(keras.callbacks.Callback):
    """Keeps the loss of every interval."""

    def __init__(self) -> None:
        super().__init__()
        self.by_step: dict[int, float] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Takes an interval's scalars; `epoch` is its last step."""
        self.by_step[epoch] = logs["loss"]


losses = Losses()
result = experiment.train(callbacks=[losses])
print(result.table())
print(losses.by_step)

# %% [markdown]
# ## Predictions
#
# Any run, checkpoint or export opens in one way.

# %%
model = c3tf.load(experiment.output)
photo = min(Path("notebook/raw/images").rglob("val/*.jpg"))
image = np.asarray(Image.open(photo).convert("RGB"))
class_map = model.predict(image)
colors = np.array(model.label_map.colors, np.uint8)
drawn = Image.fromarray(np.concatenate([image, colors[class_map]]))
drawn.save("notebook/prediction.png")
drawn

# %%
confidence = model.predict(image, probabilities=True).max(axis=-1)
print(f"mean confidence {confidence.mean():.2f}")
print(f"mean IoU {experiment.evaluate().mean_iou():.2%}")

# %% [markdown]
# A model of real streets comes with the examples (`examples/models`): CamVid, 46 labels.

# %%
here = Path(__file__).parent if "__file__" in globals() else Path("examples")
street = c3tf.load(here / "models" / "camvid_46_c3")
seen = np.unique(street.predict(image))
print("a model of real streets sees", ", ".join(street.label_map.class_names[i] for i in seen))

# %% [markdown]
# ## Export
#
# A SavedModel that TensorFlow runs without c3tf; `c3tf.load` opens it too.

# %%
experiment.export("notebook/exported", overwrite=True)
again = c3tf.load("notebook/exported").predict(image)
print(f"{np.mean(again == class_map):.2%} of the pixels as before the export")
