"""Sparse products on the CPU's fast paths: SDDMM by `sampled_addmm`, SpMM by `embedding_bag` (about 2x torch's own CSR product)."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad


def csr(offsets: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A CSR tensor, without the notice that torch prints at the first one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(offsets, columns, values, shape, check_invariants=False)


def row_offsets(row: Tensor, rows: int) -> Tensor:
    """CSR offsets (rows + 1,) of row indexes, sorted or not."""
    return pad(torch.bincount(row, minlength=rows).cumsum(0), (1, 0))


def bag(offsets: Tensor, columns: Tensor, values: Tensor, table: Tensor) -> Tensor:
    """out[r] = sum of values[e] * table[columns[e]] over offsets[r] <= e < offsets[r + 1]: a CSR matrix times `table`."""
    return embedding_bag(columns, table, offsets, mode="sum", per_sample_weights=values, include_last_offset=True)


class Pairs:
    """N rows (user, item) as a fixed sparsity over nodes: users are 0..users-1, item i is node users + i.

    Rows are kept sorted by user; `order` (N,) says which given row each kept one is. Values below are in kept order.
    """

    def __init__(self, user: Tensor, item: Tensor, users: int, items: int) -> None:
        self.users, self.items = users, items
        self.order = torch.argsort(user * items + item, stable=True)
        self.user, self.item = user[self.order], item[self.order]
        by_item = torch.argsort(self.item, stable=True)
        # Each row is two directed edges, user <- item and item <- user, sorted by the node that receives.
        self.offsets = torch.cat([row_offsets(self.user, users), len(user) + row_offsets(self.item, items)[1:]])
        self.other = torch.cat([self.item + users, self.user[by_item]])
        self.row = torch.cat([torch.arange(len(user), device=user.device), by_item])
        # `sampled_addmm` wants no pair twice.
        pairs, self._pair = torch.unique_consecutive(self.user * items + self.item, return_inverse=True)
        self._pattern = row_offsets(pairs // items, users), pairs % items
        self._repeats = len(pairs) < len(user)

    def __len__(self) -> int:
        return len(self.user)

    @property
    def degree(self) -> Tensor:
        """Rows at each node, (users + items,)."""
        return self.offsets.diff()

    def dots(self, left: Tensor, right: Tensor) -> Tensor:
        """<left[user], right[item]> at each row, (N,); left (users, k), right (items, k)."""
        out = csr(*self._pattern, left.new_zeros(len(self._pattern[1])), (self.users, self.items))
        dots = torch.sparse.sampled_addmm(out, left, right.T, beta=0.0, out=out).values()
        return dots[self._pair] if self._repeats else dots

    def spread(self, values: Tensor, table: Tensor) -> Tensor:
        """out[v] = sum over the rows at node v of value * table[the row's other node], (users + items, k)."""
        return bag(self.offsets, self.other, values[self.row], table)
