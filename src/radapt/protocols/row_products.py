"""Matrix products in which the result of a row does not depend on the other rows.

BLAS picks another kernel for other numbers of rows, and another one for the last rows, which changes the last bit. The
prediction of a patient must not depend on who else is predicted.
"""

import numpy as np


def row_products(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """float64 (n, c): the products of `rows` (n, K) and `columns` (c, K), each summed by itself.

    For few columns: it is several times slower than a matrix product.
    """
    left, right = (np.ascontiguousarray(each, dtype=np.float64) for each in (rows, columns))
    return np.einsum("nk,ck->nc", left, right)


def paired_products(rows: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """float64 (n, k): the products of each of `rows` (n, K) and its own `partners` (n, k, K)."""
    left, right = (np.ascontiguousarray(each, dtype=np.float64) for each in (rows, partners))
    return np.einsum("nd,nkd->nk", left, right)
