"""Eq. 5 against the equation, the authors' numbers and gathering over replicas."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import references
from c3tf.labels import IGNORE
from c3tf.method.contrast import ContrastInputs, contrastive, pixel_contrast

TEMPERATURE = 0.15
NUM_CLASSES = 4


def random_pairs(seed=0, num_anchors=30, num_keys=40, channels=6):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(num_anchors, channels)),
        rng.integers(0, NUM_CLASSES, num_anchors).astype(np.int32),
        rng.normal(size=(num_keys, channels)),
        rng.integers(0, NUM_CLASSES, num_keys).astype(np.int32),
    )


def random_set(seed=0, num_images=2, height=5, width=6, channels=8):
    rng = np.random.default_rng(seed)
    shape = (num_images, height, width)
    return ContrastInputs(
        embedding=tf.constant(rng.normal(size=(*shape, channels))),
        key_embedding=tf.constant(rng.normal(size=(*shape, channels))),
        labels=rng.choice([*range(NUM_CLASSES), IGNORE], shape).astype(np.int32),
        hard=rng.random(shape) < 0.4,
        priority=tf.constant(rng.random(shape), tf.float32),
    )


def reference_loss(sets, count, temperature=TEMPERATURE, exclude_self=False, min_pixels=1):
    """Eq. 5 over one or two sets: loss, anchors and the gradient for each set's embeddings."""
    anchors, keys, classes, places = [], [], [], []
    for number, part in enumerate(sets):
        flat = [np.asarray(x).reshape(len(x), -1, *x.shape[3:]) for x in part[:5]]
        embedding, key_embedding, labels, hard, priority = flat
        drawn = references.sample(labels, hard, priority, NUM_CLASSES, count, min_pixels)
        for (b, c), (hards, easies) in drawn.items():
            for n in hards + easies:
                anchors.append(embedding[b, n])
                keys.append(key_embedding[b, n])
                classes.append(c)
                places.append((number, b, n))
    anchors, keys, classes = np.array(anchors), np.array(keys), np.array(classes)
    same = np.eye(len(places), dtype=bool) if exclude_self else None
    losses, gradients = references.contrastive_loss(
        references.unit_norm(anchors),
        classes,
        references.unit_norm(keys),
        classes,
        temperature,
        same,
    )
    gradients = references.through_unit_norm(anchors, gradients / len(anchors))
    to_sets = [np.zeros(part.embedding.shape) for part in sets]
    for (number, b, n), gradient in zip(places, gradients, strict=True):
        width = sets[number].embedding.shape[2]
        to_sets[number][b, n // width, n % width] += gradient
    return losses.mean(), classes, to_sets


def test_every_anchor_is_eq_5():
    anchors, anchor_classes, keys, key_classes = random_pairs()
    losses = contrastive(
        tf.constant(anchors),
        anchor_classes,
        tf.constant(keys),
        key_classes,
        temperature=TEMPERATURE,
    )
    expected, _ = references.contrastive_loss(
        references.unit_norm(anchors),
        anchor_classes,
        references.unit_norm(keys),
        key_classes,
        TEMPERATURE,
    )
    np.testing.assert_allclose(losses, expected, rtol=1e-12)


def test_gradient_of_eq_5_passes_through_the_normalisation():
    anchors, anchor_classes, keys, key_classes = random_pairs()
    variable, keys = tf.constant(anchors), tf.constant(keys)
    with tf.GradientTape() as tape:
        tape.watch([variable, keys])
        loss = tf.reduce_sum(
            contrastive(variable, anchor_classes, keys, key_classes, temperature=TEMPERATURE)
        )
    to_anchors, to_keys = tape.gradient(loss, [variable, keys])
    _, gradients = references.contrastive_loss(
        references.unit_norm(anchors),
        anchor_classes,
        references.unit_norm(keys.numpy()),
        key_classes,
        TEMPERATURE,
    )
    expected = references.through_unit_norm(anchors, gradients)
    np.testing.assert_allclose(to_anchors, expected, rtol=0, atol=1e-12)
    assert to_keys is None


@pytest.mark.parametrize("case", ["a0", "a1"])
def test_reference_gives_the_authors_pair_loss(authors, case):
    """Their vectors are not of unit norm here, so this case measures the reference alone."""
    feats = np.float64(authors[f"{case}_feats"])
    anchors, keys = (
        np.float64(authors[f"{case}_{name}"]).reshape(-1, feats.shape[-1])
        for name in ("feats", "feats_t")
    )
    classes = np.repeat(authors[f"{case}_labels"], feats.shape[1])
    temperature, same = float(authors[f"{case}_temperature"]), np.eye(len(anchors), dtype=bool)
    scale = temperature / float(authors[f"{case}_base_temperature"])
    losses, gradients = references.contrastive_loss(
        anchors, classes, keys, classes, temperature, same
    )
    np.testing.assert_allclose(scale * losses.mean(), authors[f"{case}_loss"], rtol=1e-6)
    np.testing.assert_allclose(
        scale * gradients.reshape(feats.shape) / len(anchors),
        authors[f"{case}_grad_feats"],
        rtol=1e-4,
        atol=1e-6,
    )
    own, _ = references.contrastive_loss(anchors, classes, anchors, classes, temperature, same)
    np.testing.assert_allclose(scale * own.mean(), authors[f"{case}_single_loss"], rtol=1e-6)
    # ... and the function under test agrees with the reference on the same vectors, normalised.
    ids = np.arange(len(anchors))
    losses = contrastive(
        tf.constant(anchors),
        tf.constant(classes),
        tf.constant(keys),
        tf.constant(classes),
        temperature=temperature,
        anchor_ids=ids,
        key_ids=ids,
    )
    expected, _ = references.contrastive_loss(
        references.unit_norm(anchors),
        classes,
        references.unit_norm(keys),
        classes,
        temperature,
        same,
    )
    np.testing.assert_allclose(losses, expected, rtol=1e-11)


def authors_whole_case(authors):
    case = {
        name.removeprefix("a_full0_"): authors[name]
        for name in authors
        if name.startswith("a_full0_")
    }
    for name in ("feats", "feats_t", "grad_feats"):
        case[name] = np.float64(case[name]).transpose(0, 2, 3, 1)
    return case


def test_authors_contrast_with_their_samples(authors):
    case = authors_whole_case(authors)
    feats, size = case["feats"], case["feats"].shape
    index = case["anchor_index"]
    # Only the pixels that they drew have a class, so sampling has to take exactly these.
    labels = np.full((size[0], size[1] * size[2]), IGNORE, np.int32)
    for image, c, pixels in zip(case["anchor_image"], case["anchor_class"], index, strict=True):
        labels[image, pixels] = c
    embedding = tf.constant(feats)
    with tf.GradientTape() as tape:
        tape.watch(embedding)
        result = pixel_contrast(
            [
                ContrastInputs(
                    embedding,
                    tf.constant(case["feats_t"]),
                    labels.reshape(size[:3]),
                    np.zeros(size[:3], bool),
                    tf.zeros(size[:3]),
                )
            ],
            num_classes=int(case["anchor_class"].max()) + 1,
            count=index.shape[1],
            temperature=float(case["temperature"]),
            skip_class_0=True,
            exclude_self=True,
            scale=float(case["temperature"]) / 0.1,
        )
    assert int(tf.reduce_sum(result.anchors_per_class)) == index.size
    np.testing.assert_allclose(result.loss, case["loss"], rtol=1e-6)
    np.testing.assert_allclose(
        tape.gradient(result.loss, embedding), case["grad_feats"], rtol=1e-4, atol=1e-8
    )


@pytest.mark.parametrize("exclude_self", [False, True])
def test_two_sets_with_sampling(exclude_self):
    sets = [random_set(0), random_set(1)]
    embeddings = [part.embedding for part in sets]
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        result = pixel_contrast(
            sets,
            num_classes=NUM_CLASSES,
            count=4,
            temperature=TEMPERATURE,
            exclude_self=exclude_self,
        )
    loss, classes, gradients = reference_loss(sets, count=4, exclude_self=exclude_self)
    np.testing.assert_allclose(result.loss, loss, rtol=1e-12)
    np.testing.assert_array_equal(
        result.anchors_per_class, np.bincount(classes, minlength=NUM_CLASSES)
    )
    for ours, expected in zip(tape.gradient(result.loss, embeddings), gradients, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


def test_options():
    part = random_set()
    options = {"num_classes": NUM_CLASSES, "count": 3, "temperature": TEMPERATURE}
    plain = pixel_contrast([part], **options)
    scaled = pixel_contrast([part], scale=1.5, **options)
    np.testing.assert_allclose(scaled.loss, 1.5 * plain.loss, rtol=1e-12)

    skipped = pixel_contrast([part], skip_class_0=True, **options)
    without = part._replace(labels=np.where(part.labels == 0, IGNORE, part.labels))
    np.testing.assert_allclose(skipped.loss, reference_loss([without], 3)[0], rtol=1e-12)
    assert int(plain.anchors_per_class[0]) == 6
    assert int(skipped.anchors_per_class[0]) == 0

    least = int(np.median([(part.labels[b] == c).sum() for b in range(2) for c in range(4)])) + 1
    fewer = pixel_contrast([part], min_pixels=least, **options)
    expected, classes, _ = reference_loss([part], 3, min_pixels=least)
    np.testing.assert_allclose(fewer.loss, expected, rtol=1e-12)
    assert 0 < len(classes) < int(tf.reduce_sum(plain.anchors_per_class))


def test_hard_anchors_are_counted():
    part = random_set()
    result = pixel_contrast([part], num_classes=NUM_CLASSES, count=4, temperature=TEMPERATURE)
    flat = [np.asarray(x).reshape(2, -1) for x in (part.labels, part.hard, part.priority)]
    drawn = references.sample(*flat, NUM_CLASSES, 4)
    assert int(result.hard_anchors) == sum(len(hards) for hards, _ in drawn.values())


def test_no_gradient_reaches_the_keys():
    part = random_set()
    with tf.GradientTape() as tape:
        tape.watch(part.key_embedding)
        loss = pixel_contrast(
            [part], num_classes=NUM_CLASSES, count=4, temperature=TEMPERATURE
        ).loss
    assert tape.gradient(loss, part.key_embedding) is None


def test_student_keys_are_detached():
    """Keys that are the anchors' own tensor pull only through the anchors' side (authors' code)."""
    part = random_set()
    part = part._replace(key_embedding=part.embedding)
    with tf.GradientTape() as tape:
        tape.watch(part.embedding)
        loss = pixel_contrast(
            [part], num_classes=NUM_CLASSES, count=4, temperature=TEMPERATURE
        ).loss
    _, _, (expected,) = reference_loss([part], count=4)
    np.testing.assert_allclose(tape.gradient(loss, part.embedding), expected, rtol=0, atol=1e-12)


def test_half_precision_is_widened():
    anchors, anchor_classes, keys, key_classes = random_pairs()
    losses = contrastive(
        tf.constant(anchors, tf.float16),
        anchor_classes,
        tf.constant(keys, tf.float16),
        key_classes,
        temperature=TEMPERATURE,
    )
    expected, _ = references.contrastive_loss(
        references.unit_norm(np.float64(np.float16(anchors))),
        anchor_classes,
        references.unit_norm(np.float64(np.float16(keys))),
        key_classes,
        TEMPERATURE,
    )
    assert losses.dtype == tf.float32
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_gathered_keys_of_two_replicas_give_one_devices_loss():
    """Each replica sees its own anchors and all keys; identities must differ between replicas."""
    whole = [random_set(0), random_set(1)]
    halves = [
        [ContrastInputs(*(x[b : b + 1] for x in part[:5])) for part in whole] for b in range(2)
    ]
    options = {
        "num_classes": NUM_CLASSES,
        "count": 4,
        "temperature": TEMPERATURE,
        "exclude_self": True,
    }
    gathered = {}

    def record(x):
        gathered.setdefault(replica, []).append(x)
        return x

    for replica in range(2):
        pixel_contrast(halves[replica], global_gather=record, first_image=2 * replica, **options)
    number = sum(len(gathered[replica][1]) for replica in range(2))
    total = tf.constant(0.0, tf.float64)
    for replica in range(2):
        calls = iter(zip(gathered[0], gathered[1], strict=True))
        total += pixel_contrast(
            halves[replica],
            first_image=2 * replica,
            global_sum=lambda _: tf.constant(float(number), tf.float64),
            global_gather=lambda _, calls=calls: tf.concat(next(calls), axis=0),
            **options,
        ).loss
    np.testing.assert_allclose(total, pixel_contrast(whole, **options).loss, rtol=1e-12)


@settings(deadline=None, max_examples=40)
@given(
    embedding=hnp.arrays(
        np.float32, (2, 2, 2, 3), elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
    ),
    labels=hnp.arrays(np.int32, (2, 2, 2), elements=st.sampled_from([0, 1, 2, IGNORE])),
    hard=hnp.arrays(bool, (2, 2, 2)),
    exclude_self=st.booleans(),
    dtype=st.sampled_from([tf.float16, tf.bfloat16, tf.float32, tf.float64]),
    temperature=st.sampled_from([0.01, 0.15, 10.0]),
)
def test_finite_input_gives_a_finite_loss_and_gradient(
    embedding, labels, hard, exclude_self, dtype, temperature
):
    embedding = tf.cast(embedding, dtype)
    with tf.GradientTape() as tape:
        tape.watch(embedding)
        loss = pixel_contrast(
            [ContrastInputs(embedding, embedding[::-1], labels, hard, tf.zeros(labels.shape))],
            num_classes=3,
            count=2,
            temperature=temperature,
            exclude_self=exclude_self,
        ).loss
    assert np.isfinite(float(loss))
    assert float(loss) >= 0
    gradient = tf.cast(tape.gradient(loss, embedding), tf.float64).numpy()
    # Beyond float16's range a gradient is infinite, which is what loss scaling looks for.
    assert not np.isnan(gradient).any() if dtype == tf.float16 else np.isfinite(gradient).all()
