"""Our errors become Dagster's by their class alone."""

import dagster as dg
import pytest

from tickhandler_dagster.assets.retries import as_dagster
from tickhandler_dagster.market import errors


def _all(cls):
    for child in cls.__subclasses__():
        yield child
        yield from _all(child)


@pytest.mark.parametrize("cls", list(_all(errors.PermanentError)))
def test_a_permanent_error_is_not_tried_again(cls):
    found = as_dagster(cls("file", "is broken", remedy="Mend it"))
    assert isinstance(found, dg.Failure)
    assert not found.allow_retries
    assert found.description == "file: is broken. Mend it."


@pytest.mark.parametrize("cls", [errors.VendorUnavailable, errors.RateLimited, errors.KeyLocked])
def test_a_transient_error_is_tried_again_after_the_time_the_vendor_names(cls):
    found = as_dagster(cls("file", "is late", remedy="Wait", retry_after_s=17))
    assert isinstance(found, dg.RetryRequested)
    assert found.seconds_to_wait == 17


def test_a_quota_is_left_to_the_next_schedule():
    found = as_dagster(errors.QuotaExhausted("key", "is used up", remedy="Wait", retry_after_s=5))
    assert isinstance(found, dg.Failure)


def test_nobody_waits_for_hours():
    found = as_dagster(errors.RateLimited("key", "is slow", remedy="Wait", retry_after_s=7_200))
    assert isinstance(found, dg.Failure)


def test_the_tree_in_the_docstring_names_every_error():
    for cls in _all(errors.TickhandlerError):
        assert cls.__name__ in errors.__doc__.split(), cls
