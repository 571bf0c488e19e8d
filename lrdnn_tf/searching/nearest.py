"""Exact nearest neighbours in a matrix of embeddings, in memory or memory-mapped: many queries share one pass."""

import numpy as np

_BLOCK_NUMBERS = 1 << 24  # similarities held at a time, 64 MB
_BLOCK_ROWS = 1 << 16
_QUERIES = 256  # per pass over the gallery
_FEW = 0.25  # below this share of usable rows, gathering them is cheaper than multiplying the complete block


def nearest(
    queries: np.ndarray, gallery: np.ndarray, count: int, usable: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest gallery embeddings of each query, by descending similarity; among equals the lower row comes first.

    Args:
        queries: float32 [q, D], unit length.
        gallery: float32 [g, D], unit length; may be a memory map.
        count: Number of neighbours per query; fewer are returned when fewer rows are usable.
        usable: bool [g], the rows that may be returned; all when None.

    Returns:
        Rows of the gallery, int64 [q, count], and their cosine similarities, float32 [q, count].
    """
    usable = np.ones(len(gallery), bool) if usable is None else usable
    count = min(count, np.count_nonzero(usable))
    rows, similarities = np.zeros([len(queries), count], np.int64), np.zeros([len(queries), count], np.float32)
    if count:
        for start in range(0, len(queries), _QUERIES):
            some = slice(start, start + _QUERIES)
            rows[some], similarities[some] = _nearest(queries[some], gallery, count, usable)
    return rows, similarities


def _nearest(queries: np.ndarray, gallery: np.ndarray, count: int, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    best = [(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in queries]
    block_rows = min(_BLOCK_ROWS, max(_BLOCK_NUMBERS // len(queries), 1))
    for start in range(0, len(gallery), block_rows):
        inside = np.flatnonzero(usable[start : start + block_rows])
        block = gallery[start : start + block_rows]
        if len(inside) < _FEW * len(block):
            similarities = queries @ block[inside].T
        else:
            similarities = queries @ block.T
            similarities = similarities if len(inside) == len(block) else similarities[:, inside]
        best = [_merged(found, start + inside, values, count) for found, values in zip(best, similarities, strict=True)]
    rows, similarities = zip(*best, strict=True)
    return np.stack(rows), np.stack(similarities)


def _merged(
    best: tuple[np.ndarray, np.ndarray], rows: np.ndarray, similarities: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Merges the best so far with a block of higher rows, and keeps `count` of them."""
    if len(best[0]) == count:  # among equals the lower rows, found earlier, win
        better = np.flatnonzero(similarities > best[1][-1])
        rows, similarities = rows[better], similarities[better]
    if len(rows) > count:
        enough = np.flatnonzero(similarities >= np.partition(similarities, -count)[-count])
        rows, similarities = rows[enough], similarities[enough]
    rows, similarities = np.concatenate([best[0], rows]), np.concatenate([best[1], similarities])
    order = np.lexsort((rows, -similarities))[:count]
    return rows[order], similarities[order]
