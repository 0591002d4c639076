"""Virtual hosts of a shared node, for one test each: made and taken away by the batch.

Which test has which, is not known here."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.demo.rabbitmq_node import RabbitmqNode

# Starting rabbitmqctl costs as much as a dozen virtual hosts.
_AT_ONCE: Final = 20

# Those that were used are not kept: every one makes the next dearer to add, and its queues cost
# time although nobody uses them; 300 of them took a third of a core.
_REPLACE: Final = """
lists:foreach(
  fun(Vhost) -> catch rabbit_vhost:delete(Vhost, <<"tests">>) end,
  [{used}]),
lists:foreach(
  fun(Vhost) ->
    rabbit_vhost:add(Vhost, <<"tests">>),
    rabbit_auth_backend_internal:set_permissions(
      <<"guest">>, Vhost, <<".*">>, <<".*">>, <<".*">>, <<"tests">>)
  end,
  [{fresh}]).
"""


class Vhosts:
    """The virtual hosts of this process; other processes may have theirs at the same node."""

    def __init__(self, node: RabbitmqNode) -> None:
        self._node = node
        self._fresh: list[str] = []
        self._used: list[str] = []
        self._names = (f"test-{os.getpid()}-{number}" for number in itertools.count())

    def take(self) -> str:
        """Return the name of an empty one that nobody had before."""
        if not self._fresh:
            fresh = list(itertools.islice(self._names, _AT_ONCE))
            self._node.ctl(
                "eval", _REPLACE.format(used=_in_erlang(self._used), fresh=_in_erlang(fresh))
            )
            self._fresh, self._used = fresh, []
        return self._fresh.pop(0)

    def give_back(self, name: str) -> None:
        """Hear that nobody uses it any more; it is gone some time later."""
        self._used.append(name)


def _in_erlang(names: list[str]) -> str:
    return ", ".join(f'<<"{name}">>' for name in names)
