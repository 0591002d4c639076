"""Local stand-ins for the providers, for the demo, for tests and for teams that build against us.

What every company has stands in files without a company's name. Pure: `route` says what a call and
an answer are, `agenda` what is going to happen, `mail` what is to be delivered; `faults` is
misfortune as data, `chance` and `clock` what else is uncertain. Running: `traffic` counts,
`simulation` is the whole, `door` takes a call from arrival to answer, `control` turns it all,
`post` lets time pass and delivers webhooks, `server` listens.

Each company brings a house and its words. Pure: `*_bank` has the withdrawals and `*_market` the
orders, by the rules of `*_terms` and on the ground they share (`*_ground`); `*_webhooks` knows who
is to be told of what; together they are the `*_house`. `*_api` are the routes, one function each,
with `*_documents` for what a client gets back. Running: `*_http` is what the door asks of the
company (credentials, signatures, envelopes), `*_control` its own control calls, `*_server` the way
in. What a client and the simulator both need is written on each side on its own, so that they check
each other. Nothing that pays out imports any of it."""
