"""What an operator can turn, and how the process speaks in its log.

`settings` is the tree of values, its groups in modules beside it; `loading` fills the tree,
`example` is the same tree as a file to copy, `logging` the two formats of the log. Nothing here is
a singleton, and nothing here knows the worker."""
