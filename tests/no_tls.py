"""For clients of plain HTTP: httpx reads the machine's certificates for each one otherwise."""

from __future__ import annotations

import ssl
from typing import Final

#: Trusts nobody; 20 ms cheaper than one that trusts as usual.
NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
