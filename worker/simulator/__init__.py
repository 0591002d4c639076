"""Local stand-ins for the providers, for the demo, for tests and for teams that build against us.

Pure: `bluum_bank` has the withdrawals and `bluum_market` the orders, by the rules of `bluum_terms`
and on the ground they share (`bluum_ground`: agenda, journal, keys, wallets); `bluum_webhooks`
knows who is to be told of which of the `bluum_notices`; together they are the `bluum_house`.
`*_calls` read what a client wrote, `*_documents` write what it gets back, `*_api` join both with
the house, one function a route. `faults` is misfortune as data, `chance` and `clock` what else is
uncertain. Running: `traffic` counts, `simulation` is the whole, `bluum_http` and `control` speak
HTTP, `post` lets time pass and delivers webhooks, `bluum_server` is the way in. Nothing that pays
out imports any of it."""
