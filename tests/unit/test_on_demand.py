"""What is built on demand is built once, and what fails to be built is tried again."""

import threading

import pytest

from tickhandler_dagster.resources.on_demand import OnDemand


def test_nothing_is_built_before_it_is_used_and_then_once_for_all_threads():
    built = []

    def build():
        built.append("once")
        return "text"

    thing = OnDemand(build)
    assert built == []

    def use():
        assert thing.upper() == "TEXT"

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == ["once"]


def test_an_error_of_building_is_the_users_and_the_next_use_tries_again():
    answers = iter([ValueError("not yet"), "text"])

    def build():
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    thing = OnDemand(build)
    with pytest.raises(ValueError, match="not yet"):
        thing.upper()
    assert thing.upper() == "TEXT"
