"""Some cells of ``make matrix`` that share a cache: what one stores there must not break another."""

import os
import sys

import pytest

from conftest import ROOT

sys.path.insert(0, os.path.join(ROOT, "tests", "matrix"))

import matrix  # noqa: E402

#: Their eggs have the same layout. But setuptools of 3.4 names the egg of a source distribution
#: ``zc_recipe_egg``, and that of 3.3 names it ``zc.recipe.egg`` and does not find the other one.
CELLS = r"^%s (3\.3|3\.4) " % matrix.THIS_PYTHON


@pytest.mark.parametrize("order", matrix.ORDERS)
def test_cells_that_share_a_cache_are_right_in_both_orders(order):
    found = list(matrix.all_cells(CELLS))
    assert [version for _, version, _ in found] == ["3.3", "3.4"]
    ordered = matrix.in_order(order, found)
    assert list(matrix.results_of(ordered)) == [(cell, "ok") for cell in ordered]
