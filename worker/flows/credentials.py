"""Whether each provider accepts our credentials; while one does not, nothing is taken in.

A refusal (401) is never a message's fault. It closes the gate, and the credentials are tried with a
harmless read until they work again: nobody has to restart anything after mending them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.flows.gate import Gate

_log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 10.0
#: No answer within this time is no refusal: the start waits here, and the loop must be seen alive.
_TRY_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 5.0


class Credentialed(Protocol):
    """Tries its credentials."""

    async def try_credentials(self) -> bool | None:
        """Return True when accepted, False when refused, None when nobody answered."""
        ...


class Credentials:
    """Watches over the credentials of all providers; `run` it as a task.

    `report` is told whether all are accepted, and whose are not.
    """

    def __init__(
        self,
        providers: Mapping[str, Credentialed],
        gate: Gate,
        *,
        report: Callable[[bool, str], None],
        beat: Callable[[], None],
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        self._providers = providers
        self._gate = gate
        self._report = report
        self._beat = beat
        self._retry_seconds = retry_seconds
        self._refused: set[str] = set(providers)
        #: Those that gave no usable answer when they were tried last.
        self._silent: set[str] = set()
        self._denied = asyncio.Event()
        self.tried = asyncio.Event()

    @property
    def accepted(self) -> bool:
        """Whether no provider is known to refuse our credentials."""
        return self.tried.is_set() and not self._refused

    def denied(self, provider: str) -> None:
        """Hear that a provider answered 401."""
        self._refused.add(provider)
        self._denied.set()

    async def run(self) -> None:
        """Try the credentials at the start and after each refusal; ends only by cancellation.

        Who gave no answer is asked again until it does, while work goes on.
        """
        while True:
            self._beat()
            await self._try(self._refused | self._silent)
            self.tried.set()
            if self._refused:
                await asyncio.sleep(self._retry_seconds)
                continue
            self._denied.clear()
            try:
                async with asyncio.timeout(_IDLE_SECONDS):
                    await self._denied.wait()
            except TimeoutError:
                continue

    async def _try(self, names: set[str]) -> None:
        for name in sorted(names):
            self._beat()
            holder = f"credentials {name}"
            accepted = await self._tried(name)
            self._hear(name, is_silent=accepted is None)
            if accepted is not False:
                self._refused.discard(name)
                await self._gate.open(holder)
                continue
            self._refused.add(name)
            why = f"{name} refuses the credentials (401)"
            if holder not in self._gate.closed_by:
                _log.error("credentials refused", extra={"provider": name})
            await self._gate.close(holder, why)
        if self._refused:
            self._report(False, "refused by " + ", ".join(sorted(self._refused)))
        elif self._silent:
            silent = ", ".join(sorted(self._silent))
            self._report(True, f"not refused; no usable answer when asked: {silent}")
        else:
            self._report(True, "accepted")

    async def _tried(self, name: str) -> bool | None:
        try:
            async with asyncio.timeout(_TRY_SECONDS):
                return await self._providers[name].try_credentials()
        except TimeoutError:
            return None

    def _hear(self, name: str, *, is_silent: bool) -> None:
        if not is_silent:
            self._silent.discard(name)
        elif name not in self._silent:
            self._silent.add(name)
            # Nothing is wrong with us: what comes in is written down, and tried until it answers.
            _log.warning("no usable answer to a try of the credentials", extra={"provider": name})
