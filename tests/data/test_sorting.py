"""The packed sort beside NumPy's own."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal

from glta_cli.data.sorting import stable_order

far_apart = st.integers(-(2**63), 2**63 - 1)


@given(arrays(np.int64, st.integers(0, 50), elements=st.one_of(st.integers(-3, 3), far_apart)))
def test_the_order_is_that_of_a_stable_sort(values):
    assert_array_equal(stable_order(values), np.argsort(values, kind="stable"))


@given(arrays(np.int64, st.integers(0, 50), elements=st.integers(-3, 3)), st.integers(-(2**62), 2**62))
def test_values_near_to_one_another_may_be_far_from_zero(values, shift):
    assert_array_equal(stable_order(values + shift), np.argsort(values, kind="stable"))
