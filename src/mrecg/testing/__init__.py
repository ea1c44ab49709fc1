"""Checks for the tests of packages that bring methods and criteria.

They need nothing but this package.

Each check is a function that takes the name of what is checked, and fails by an assertion::

    @pytest.mark.parametrize("check", METHOD_CHECKS)
    def test_my_method(check):
        check("my_method")
"""

from mrecg.testing.criteria import CRITERION_CHECKS
from mrecg.testing.methods import METHOD_CHECKS

__all__ = ["CRITERION_CHECKS", "METHOD_CHECKS"]
