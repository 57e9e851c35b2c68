"""Every registered task keeps the contract; and a task that breaks it is caught by the check that says so."""

import pytest

from clipx.registry import TASKS, get_task, registered
from clipx.testing.tasks import task_checks

EVERY_CHECK = [
    pytest.param(cls, check, id=f"{name}-{check.name}")
    for name in registered(TASKS)
    for cls in [get_task(name)]
    for check in task_checks(cls)
]


@pytest.mark.parametrize(("cls", "check"), EVERY_CHECK)
def test_contract(cls, check, tiny_space):
    check(tiny_space)
