"""Local stand-ins for the providers, for the demo, for tests and for teams that build against us.

Pure: `bluum_bank` holds the money and decides, by the rules of `bluum_terms`; `bluum_calls` reads
what a client wrote, `bluum_documents` writes what it gets back, `bluum_api` joins the three, one
function a route. `faults` is misfortune as data, `chance` and `clock` what else is uncertain.
Running: `traffic` counts, `simulation` is the whole, `bluum_http` and `control` speak HTTP,
`bluum_server` is the way in. Nothing that pays out imports any of it."""
