"""What the flags of videos are read as, and what does not go with them."""

import pytest
from absl import flags

from c3tf import predict
from c3tf.errors import UserError
from c3tf.inference import video_options
from c3tf.inference.options import InferenceOptions
from c3tf.inference.video_options import VideoOptions


@pytest.fixture
def read(monkeypatch):
    """Reads words as the command would, from flags of its own."""
    own = flags.FlagValues()
    for kind in ("enum", "string", "float", "integer", "bool", "list"):
        define = getattr(flags, f"DEFINE_{kind}")

        def with_own(*given, define=define, **more):
            define(*given, flag_values=own, **more)

        monkeypatch.setattr(flags, f"DEFINE_{kind}", with_own)
    predict.define_flags()
    monkeypatch.setattr(flags, "FLAGS", own)

    def parse(*words):
        own(["command", "--model=x", "--output=y", *words])
        return video_options.read()

    return parse


def test_images_are_no_video(read):
    assert read("--images=z") is None


def test_a_video_with_its_options(read):
    assert read("--video=z") == VideoOptions()
    words = "--video=z --show=beside --opacity=1 --batch_size=4 --height=512 --tta_flip --overwrite"
    flip = InferenceOptions(tta_flip=True)
    assert read(*words.split()) == VideoOptions("beside", 1.0, 4, 512, flip, overwrite=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--images=z --show=over", "`--show` needs `--video`"),
        ("--video=z --images=z", "`--images` is for image files"),
        ("--video=z --format=color", "`--format` is for image files"),
        ("--video=z --pseudo_as=labelme", "`--pseudo_as` is for image files"),
        ("--video=z --exif=apply", "`--exif` is for image files"),
        ("--video=z --resume", "`--resume` is for image files"),
    ],
)
def test_what_does_not_go_together_is_refused(read, words, said):
    with pytest.raises(UserError, match=said):
        read(*words.split())


def test_neither_images_nor_a_video(read):
    read()
    with pytest.raises(UserError, match="`--images` or `--video` must be given"):
        predict.main()
