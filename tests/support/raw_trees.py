"""Small raw data sets for the tests of the converters."""

import json
from pathlib import Path

import numpy as np
from PIL import Image


def save(path: Path, pixels: np.ndarray | Image.Image) -> None:
    """Saves an array or a Pillow image, making folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path)


def pair(index: int, ids: tuple[int, ...] = tuple(range(11))) -> tuple[np.ndarray, np.ndarray]:
    """Makes a 24x32 image and its mask of blocks, which differ with `index`."""
    rng = np.random.default_rng(index)
    blocks = rng.integers(0, 256, (3, 4, 3), np.uint8)
    mask = rng.choice(np.asarray(ids, np.uint8), (3, 4))
    grow = np.ones((8, 8), np.uint8)
    return np.kron(blocks, grow[:, :, None]), np.kron(mask, grow)


def write_camvid(root: Path, train: int = 9, val: int = 3) -> Path:
    """Writes CamVid in SegNet's layout, with spaces in the names."""
    for split, count in (("train", train), ("val", val)):
        for index in range(count):
            image, mask = pair(index + 100 * (split == "val"))
            save(root / split / f"{split} {index:02d}.png", image)
            save(root / f"{split}annot" / f"{split} {index:02d}.png", mask)
    return root


def write_cityscapes(root: Path, kinds: tuple[str, ...] = ("labelIds",)) -> Path:
    """Writes Cityscapes with two cities, colour masks and polygons included."""
    for split, cities in (("train", ("aachen", "bochum")), ("val", ("lindau",))):
        for number, city in enumerate(cities):
            name = f"{city}_000000_000019"
            image, mask = pair(number, (7, 8, 26, 0))
            save(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", image)
            labels = root / "gtFine" / split / city
            save(labels / f"{name}_gtFine_color.png", image)
            (labels / f"{name}_gtFine_polygons.json").write_text("{}")
            for kind in kinds:
                train_ids = np.select([mask == 7, mask == 8, mask == 26], [0, 1, 13], 255)
                ids = mask if kind == "labelIds" else train_ids.astype(np.uint8)
                save(labels / f"{name}_gtFine_{kind}.png", ids)
    return root


def write_bdd100k(root: Path, old: bool = False) -> Path:
    """Writes BDD100K in one of its two layouts."""
    for split in ("train", "val"):
        for index in range(2):
            name = f"{split[0]}00{index}-d4dff0ad"
            image, mask = pair(index, (0, 5, 18, 255))
            if old:
                save(root / "seg/images" / split / f"{name}.jpg", image)
                save(root / "seg/labels" / split / f"{name}_train_id.png", mask)
            else:
                save(root / "images/10k" / split / f"{name}.jpg", image)
                save(root / "labels/sem_seg/masks" / split / f"{name}.png", mask)
    return root


LABEL_MAP_JSON = {
    "name": "yard",
    "classes": [
        {"name": "lawn", "id": 4, "color": "#10c020"},
        {"name": "path", "id": 2, "color": [200, 180, 20]},
        {"name": "shed", "id": 9, "color": [120, 30, 30]},
    ],
    "ignore": {"ids": [0, 255], "colors": ["#000000"]},
}
FOLDER_IDS = (0, 4, 2, 9)
FOLDER_COLORS = ((0, 0, 0), (16, 192, 32), (200, 180, 20), (120, 30, 30))


def write_folder(root: Path, count: int = 10, unlabeled: int = 4, masks: str = "ids") -> Path:
    """Writes own data: `photos`, `masks` (of ids, colors or palette), `more` and `classes.json`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.json").write_text(json.dumps(LABEL_MAP_JSON))
    table = np.zeros((256, 3), np.uint8)
    table[list(FOLDER_IDS)] = FOLDER_COLORS
    for index in range(count):
        image, mask = pair(index, FOLDER_IDS)
        save(root / "photos" / f"{index:02d}.jpg", image)
        stored = table[mask] if masks == "colors" else Image.fromarray(mask)
        if masks == "palette":
            stored.putpalette(table.tobytes())
        save(root / "masks" / f"{index:02d}.png", stored)
    for index in range(unlabeled):
        save(root / "more" / f"extra {index}.png", pair(100 + index)[0])
    return root
