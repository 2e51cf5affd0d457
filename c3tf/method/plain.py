"""The executable paper: Eq. 1 to 7 in plain TensorFlow, in the paper's symbols, without economy.

Nothing trains with this module. It says what the equations are, one function each, for whoever
wants to read or to change them; what trains (`losses`, `cutmix`, `contrast`, `confidence` and
`kernels`) says the same faster, over several devices and with the authors' options, and is tested
against it.

Symbols: x, y are labeled images and labels, u unlabeled images; f is the student's output and
f_hat the teacher's (softmax in Eq. 1 and 2, embedding in Eq. 3 and 5); B images, H x W pixels, C
classes. Masks are bool.
"""

from collections.abc import Callable

import tensorflow as tf

from c3tf.labels import IGNORE

Outputs = dict[str, tf.Tensor]


def supervised(y: tf.Tensor, log_f: tf.Tensor) -> tf.Tensor:
    """Eq. 1: L_sup, the cross-entropy of the pixels that have a label.

    Args:
        y: `(B, H, W)` train ids, `IGNORE` where a pixel has no label.
        log_f: `(B, H, W, C)`, log(f(theta; A x)).
    """
    one_hot = tf.one_hot(tf.cast(y, tf.int32), log_f.shape[-1], dtype=log_f.dtype)
    return _mean_over_pixels_then_images(_cross_entropy(one_hot, log_f), y != IGNORE)


def consistency(f_hat: tf.Tensor, log_f: tf.Tensor, confident: tf.Tensor) -> tf.Tensor:
    """Eq. 2: L_consist, the cross-entropy against the teacher's soft targets.

    Args:
        f_hat: `(B, H, W, C)`, f(theta_hat; A u).
        log_f: `(B, H, W, C)`, log(f(theta; A_hat u)).
        confident: `(B, H, W)` bool, the confident region of Section 3.4.
    """
    return _mean_over_pixels_then_images(_cross_entropy(tf.stop_gradient(f_hat), log_f), confident)


def _cross_entropy(target: tf.Tensor, log_f: tf.Tensor) -> tf.Tensor:
    return -tf.reduce_sum(target * log_f, axis=-1)


def _mean_over_pixels_then_images(loss: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """1/|B| sum over x of 1/M sum over the M valid pixels of x; 0 of an image that has none."""
    M = tf.reduce_sum(tf.cast(valid, loss.dtype), axis=(1, 2))
    return tf.reduce_mean(tf.reduce_sum(tf.where(valid, loss, 0), axis=(1, 2)) / tf.maximum(M, 1))


def contrast_of_anchors(
    f: tf.Tensor, f_hat: tf.Tensor, P: tf.Tensor, N: tf.Tensor, tau: float
) -> tf.Tensor:
    """Eq. 3 and 5, inside the mean over anchors: what each anchor i costs against all keys.

    Args:
        f: `(n, D)` embeddings of the anchors, from the student.
        f_hat: `(m, D)` embeddings of the keys, from the teacher (Eq. 5); no gradient.
        P: `(n, m)` bool, row i is P_i, the keys of the anchor's class.
        N: `(n, m)` bool, row i is N_i, the keys of other classes.
        tau: temperature.

    Returns:
        `(n,)`; 0 where P_i is empty.
    """
    f = tf.math.l2_normalize(f, axis=-1)
    f_hat = tf.stop_gradient(tf.math.l2_normalize(f_hat, axis=-1))
    s = tf.matmul(f, f_hat, transpose_b=True) / tau
    nothing = tf.constant(-1e9, s.dtype)
    log_sum_N = tf.reduce_logsumexp(tf.where(N, s, nothing), axis=1, keepdims=True)
    # log(exp(s) / (exp(s) + sum_N)), written so that exp(1 / tau) cannot overflow.
    log_ratio = -tf.nn.softplus(log_sum_N - s)
    size_of_P = tf.reduce_sum(tf.cast(P, s.dtype), axis=1)
    return -tf.reduce_sum(tf.where(P, log_ratio, 0), axis=1) / tf.maximum(size_of_P, 1)


def contrast(f: tf.Tensor, f_hat: tf.Tensor, c: tf.Tensor, tau: float) -> tf.Tensor:
    """Eq. 5: L_contrast of sampled pixels, each an anchor (student) and a key (teacher).

    With f_hat = f it is Eq. 3.

    Args:
        f: `(n, D)` student embeddings of labeled and unlabeled pixels together.
        f_hat: `(n, D)` teacher embeddings of the same pixels.
        c: `(n,)` their classes: the label's, or the teacher's where it is confident.
        tau: temperature.
    """
    P = c[:, None] == c[None, :]
    return tf.reduce_mean(contrast_of_anchors(f, f_hat, P, ~P, tau))


def sample(
    c: tf.Tensor, hard: tf.Tensor, r: tf.Tensor, num_classes: int, K: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Section 3.3: K pixels of every class in every image, half of them hard where there are.

    Args:
        c: `(B, n)` classes, `IGNORE` where a pixel has none.
        hard: `(B, n)` bool: the student errs, or it and the teacher differ.
        r: `(B, n)` random numbers; of each kind the pixels with the lowest are taken.
        num_classes: C.
        K: pixels per class and image.

    Returns:
        `(m,)` and `(m,)` int32: pixels, numbered image by image, and their classes.
    """
    pixels, classes = [], []
    for b in range(c.shape[0]):
        in_turn = tf.argsort(r[b], stable=True)
        for k in range(num_classes):
            own = tf.boolean_mask(in_turn, tf.gather(c[b] == k, in_turn))
            is_hard = tf.gather(hard[b], own)
            hards, easies = tf.boolean_mask(own, is_hard), tf.boolean_mask(own, ~is_hard)
            num_hard = tf.minimum(tf.size(hards), tf.maximum(K // 2, K - tf.size(easies)))
            taken = tf.concat([hards[:num_hard], easies[: K - num_hard]], axis=0)
            pixels.append(b * c.shape[1] + taken)
            classes.append(tf.fill([tf.size(taken)], k))
    return tf.concat(pixels, axis=0), tf.concat(classes, axis=0)


def mix(a: tf.Tensor, b: tf.Tensor, M: tf.Tensor) -> tf.Tensor:
    """Eq. 4: x_mix of two images (or batches of them) and a mask of zeros and ones."""
    return M * a + (1 - M) * b


def masks(boxes: tf.Tensor, H: int, W: int, dtype: tf.DType, stride: int = 1) -> tf.Tensor:
    """The masks of Eq. 4: one, and zero inside a rectangle.

    Args:
        boxes: `(n, 4)` top, left, height, width in pixels.
        H: height of the images.
        W: width of the images.
        dtype: of the images that are mixed.
        stride: pixels per feature, to mix feature maps: each lies on the middle of its pixels.

    Returns:
        `(n, H / stride, W / stride, 1)` zeros and ones.
    """
    top, left, height, width = tf.unstack(boxes[:, None], axis=-1)
    rows, columns = (tf.range(stride // 2, size, stride) for size in (H, W))
    in_rows = (rows >= top) & (rows < top + height)
    in_columns = (columns >= left) & (columns < left + width)
    inside = in_rows[:, :, None] & in_columns[:, None, :]
    return tf.cast(~inside, dtype)[..., None]


def mix_batch(x: tf.Tensor, u: tf.Tensor, order: tf.Tensor, M: tf.Tensor) -> tf.Tensor:
    """Eq. 4 over a batch: pairs are drawn from x and u together and mixed both ways round.

    Args:
        x: `(B, H, W, K)`.
        u: `(B, H, W, K)`.
        order: `(G, 2 g)` permutations of a group's images, see `cutmix.MixPlan`.
        M: `(B, H, W, 1)` masks of the pairs.

    Returns:
        `(2 B, H, W, K)`, group by group: x_mix of its pairs, then with a and b exchanged.
    """
    groups, size = order.shape
    own = [tf.reshape(part, [groups, size // 2, *part.shape[1:]]) for part in (x, u)]
    placed = tf.gather(tf.concat(own, axis=1), order, batch_dims=1)
    return tf.reshape(_mix_both_ways(placed, M), [groups * size, *x.shape[1:]])


def unmix_batch(mixed: tf.Tensor, order: tf.Tensor, M: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Undoes `mix_batch`: a = M * x_mix + (1 - M) * its complement, and b likewise."""
    groups, size = order.shape
    placed = _mix_both_ways(tf.reshape(mixed, [groups, size, *mixed.shape[1:]]), M)
    own = tf.gather(placed, tf.argsort(order, axis=1), batch_dims=1)
    shape = [groups * size // 2, *mixed.shape[1:]]
    return tuple(tf.reshape(half, shape) for half in tf.split(own, 2, axis=1))


def _mix_both_ways(placed: tf.Tensor, M: tf.Tensor) -> tf.Tensor:
    a, b = tf.split(placed, 2, axis=1)
    M = tf.reshape(M, [*a.shape[:2], *M.shape[1:]])
    return tf.concat([mix(a, b, M), mix(b, a, M)], axis=1)


def thresholds(
    delta_hat: tf.Tensor, f_hat: tf.Tensor, valid: tf.Tensor, s: float, beta: float
) -> tf.Tensor:
    """Eq. 6: delta_hat of this step, by sorting the confidences of every class.

    Args:
        delta_hat: `(C,)` of the step before.
        f_hat: `(B, H, W, C)`, f(theta_hat; A u).
        valid: `(B, H, W)` bool, pixels that come from the image.
        s: the share of each class to keep; below 1.
        beta: decay.

    Returns:
        `(C,)`; a class that the teacher predicts nowhere keeps its own.
    """
    confidence, predicted = tf.reduce_max(f_hat, axis=-1), tf.argmax(f_hat, axis=-1)
    updated = []
    for c in range(f_hat.shape[-1]):
        own = tf.boolean_mask(confidence, valid & (predicted == c))
        place = tf.cast(tf.cast(tf.size(own), tf.float64) * s, tf.int32)
        # A sum of one element, or of none.
        delta = tf.reduce_sum(tf.sort(own, direction="DESCENDING")[place : place + 1])
        moved = beta * delta_hat[c] + (1 - beta) * delta
        updated.append(tf.where(tf.size(own) > 0, moved, delta_hat[c]))
    return tf.stack(updated)


def confident_region(delta_hat: tf.Tensor, f_hat: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Section 3.4: `(B, H, W)`, the pixels that reach the threshold of their predicted class."""
    return valid & (tf.reduce_max(f_hat, axis=-1) >= tf.gather(delta_hat, tf.argmax(f_hat, -1)))


def ramp(t: int, T: int) -> tf.Tensor:
    """Section 4.1: exp(-5 (1 - t / T)^2), which multiplies lambda1 until t = T."""
    return tf.exp(-5.0 * (1.0 - min(t / T, 1.0)) ** 2)


def moving_average(
    theta_hat: list[tf.Tensor], theta: list[tf.Tensor], alpha: float
) -> list[tf.Tensor]:
    """Section 3.1: the teacher's weights, moved towards the student's."""
    return [alpha * old + (1 - alpha) * new for old, new in zip(theta_hat, theta, strict=True)]


def total_loss(
    student: Callable[[tf.Tensor], Outputs],
    teacher: Callable[[tf.Tensor], Outputs],
    x: tf.Tensor,
    y: tf.Tensor,
    u_w: tf.Tensor,
    u_s: tf.Tensor,
    valid: tf.Tensor,
    order: tf.Tensor,
    boxes: tf.Tensor,
    r: tf.Tensor,
    delta_hat: tf.Tensor,
    *,
    t: int,
    s: float,
    beta: float,
    tau: float,
    K: int,
    lambda1: float,
    T: int,
    lambda2: float,
) -> tf.Tensor:
    """Eq. 7: L_total = L_sup + lambda1 L_consist + lambda2 L_contrast of one train step.

    Args:
        student: f(theta; .): images `(n, H, W, 3)` to `"logits"` and `"embedding"` at a stride.
        teacher: f(theta_hat; .), its weights moved already (`moving_average`).
        x: `(B, H, W, 3)` labeled images.
        y: `(B, H, W)` their labels.
        u_w: `(B, H, W, 3)` unlabeled images, weakly augmented: A u.
        u_s: `(B, H, W, 3)` the same, strongly augmented: A_hat u.
        valid: `(B, H, W)` bool, where u shows its image and not padding.
        order: `(G, 2 g)` who is mixed with whom.
        boxes: `(G, g, 4)` and where.
        r: `(2, B, h, w)` random numbers for the samples of x and of u.
        delta_hat: `(C,)` thresholds of the step before.
        t: steps since the teacher began.
        s: share of each class that DCRS keeps.
        beta: decay of the thresholds.
        tau: temperature.
        K: samples per class and image.
        lambda1: weight of L_consist after its ramp of T steps; 50 / C where the consistency is
            a mean over classes (`--consistency_class_mean`).
        T: length of that ramp.
        lambda2: weight of L_contrast.
    """
    H, W = y.shape[1:]
    hat_x, hat_u = teacher(x), teacher(u_w)
    stride = H // hat_u["logits"].shape[1]
    f_hat = tf.nn.softmax(tf.image.resize(hat_u["logits"], [H, W]))
    delta_hat = thresholds(delta_hat, f_hat, valid, s, beta)
    confident = confident_region(delta_hat, f_hat, valid)

    boxes = tf.reshape(boxes, [-1, 4])
    mixed = student(mix_batch(x, u_s, order, masks(boxes, H, W, x.dtype)))
    M = masks(boxes, H, W, f_hat.dtype)
    log_f_x, log_f_u = unmix_batch(
        tf.nn.log_softmax(tf.image.resize(mixed["logits"], [H, W])), order, M
    )
    L_sup = supervised(y, log_f_x)
    L_consist = consistency(f_hat, log_f_u, confident)

    def at_features(maps: tf.Tensor) -> tf.Tensor:
        return tf.cast(maps[:, stride // 2 :: stride, stride // 2 :: stride], tf.int32)

    M = masks(boxes, H, W, f_hat.dtype, stride)
    logits_x, logits_u = unmix_batch(mixed["logits"], order, M)
    hat_c = at_features(tf.argmax(f_hat, axis=-1))
    c_x, c_u = at_features(y), tf.where(at_features(confident) == 1, hat_c, IGNORE)
    hard_x = tf.argmax(logits_x, -1, tf.int32) != c_x
    hard_u = tf.argmax(logits_u, -1, tf.int32) != hat_c
    c, hard = tf.concat([c_x, c_u], axis=0), tf.concat([hard_x, hard_u], axis=0)
    c, hard, r = (tf.reshape(part, [c.shape[0], -1]) for part in (c, hard, r))
    pixels, classes = sample(c, hard, r, f_hat.shape[-1], K)
    f = tf.concat(unmix_batch(mixed["embedding"], order, M), axis=0)
    keys = tf.concat([hat_x["embedding"], hat_u["embedding"]], axis=0)
    f, keys = (tf.gather(tf.reshape(maps, [-1, maps.shape[-1]]), pixels) for maps in (f, keys))
    L_contrast = contrast(f, keys, classes, tau)

    return L_sup + lambda1 * ramp(t, T) * L_consist + lambda2 * L_contrast
