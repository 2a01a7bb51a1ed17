"""The topic of every training window: the corpus's own where it names any, else found by k-means on the targets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.data.corpus import FloatArray, IndexArray
from engine.data.windows import CorpusWindows, WindowSource

TopicArray = npt.NDArray[np.int32]

NO_TOPIC = -1
"""The topic of windows that are not trained on."""
MAX_FITTED = 32_768
"""k-means is fitted on at most this many training targets, evenly spaced; all of them are assigned."""
ITERATIONS = 20
_WINDOWS_AT_ONCE = 8192


def topics_of_windows(source: WindowSource, train: IndexArray, *, count: int, seed: int) -> TopicArray:
    """The topic of each window.

    Equal arguments give equal topics on the same machine, so that a resumed training finds those it began with.

    Args:
        source: where the windows are.
        train: (W,) int64 training windows; nothing else is looked at.
        count: topics to find where the data name none, or but one; fewer where there are fewer targets.
        seed: of k-means.

    Returns:
        (num_windows,) int32; `NO_TOPIC` for windows that are not in `train`.
    """
    topics = np.full(source.num_windows, NO_TOPIC, np.int32)
    if isinstance(source, CorpusWindows) and len(source.corpus.topics) > 1:
        corpus = source.corpus
        topics[train] = corpus.topic_of_article[corpus.article_of_chunk[source.target_chunks[train]]]
        return topics
    centres = _find_centres(source, train, count=min(count, len(train)), seed=seed)
    for start in range(0, len(train), _WINDOWS_AT_ONCE):
        windows = train[start : start + _WINDOWS_AT_ONCE]
        topics[windows] = (source.gather(windows)[1] @ centres.T).argmax(axis=1)
    return topics


def _find_centres(source: WindowSource, train: IndexArray, *, count: int, seed: int) -> FloatArray:
    """(count, D) float32 unit vectors, by spherical k-means: the nearest centre is that of the highest cosine."""
    import faiss

    fitted = train[:: -(-len(train) // MAX_FITTED)]
    targets = np.concatenate(
        [
            source.gather(fitted[start : start + _WINDOWS_AT_ONCE])[1]
            for start in range(0, len(fitted), _WINDOWS_AT_ONCE)
        ]
    )
    kmeans = faiss.Kmeans(
        source.dim,
        count,
        niter=ITERATIONS,
        seed=seed % 2**31,  # faiss counts in 32 bits
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=len(fitted),
    )
    kmeans.train(targets)
    assert kmeans.centroids is not None
    return np.asarray(kmeans.centroids, np.float32)
