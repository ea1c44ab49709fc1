"""A start without garbage collection leaves the process as it was."""

import gc

import pytest

from mrecg.cli.quick_start import started, starting


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_is_collected_again_once_a_command_works(collects: bool) -> None:
    (gc.enable if collects else gc.disable)()
    try:
        with pytest.raises(ValueError, match="of the command"), starting():
            assert not gc.isenabled()
            started()
            assert gc.isenabled() and gc.get_freeze_count() > 0  # what the imports made is left alone
            raise ValueError("of the command")
        assert gc.isenabled() == collects and gc.get_freeze_count() == 0  # a program that calls it goes on
    finally:
        gc.enable()
