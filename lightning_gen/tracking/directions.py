"""Which way a score gets better."""

BETTER = {
    "lower": {
        "fid", "kid", "class_kl", "class_js", "reverse_kl", "duplicate_rate", "ndb", "bin_js",
        "memorised", "code_error", "nearest_neighbour_error", "linear_probe_error", "nll",
        "bits_per_dim", "perplexity", "nats_per_token", "bits_per_byte", "l1", "cycle_l1",
        "reconstruction_error",
    },
    "higher": {
        "inception_score", "precision", "recall", "density", "coverage", "modes", "high_quality",
        "mean_confidence", "class_entropy", "diverse_classes", "birthday_batch",
        "birthday_support", "log_likelihood", "parzen", "psnr", "ssim", "translated_accuracy",
        "reconstruction_psnr", "denoising_psnr", "anomaly_auc", "anomaly_precision",
        "adapted_accuracy", "pixel_accuracy", "class_accuracy", "mean_iou",
    },
}  # fmt: skip


def direction(name: str) -> str | None:
    """Say whether a higher or a lower value of a score is the better one.

    Args:
        name: A metric, or a score's name with its extractor and counts.

    Returns:
        ``higher``, ``lower``, or None where neither is.

    Example:
        >>> direction("fid"), direction("class_kl_mnist@10k_test"), direction("pairwise_ratio")
        ('lower', 'lower', None)
    """
    words = name.partition("@")[0].split("_")
    for end in range(len(words), 0, -1):
        metric = "_".join(words[:end])
        for better, metrics in BETTER.items():
            if metric in metrics:
                return better
    return None
