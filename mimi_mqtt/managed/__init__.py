"""Settings that people make at run time: agents, options and keys of providers, prices, kept in the store.

`broker.yaml` and the environment win over all of it (`merging`). Every change is a version of its resource,
with its author (`resources`); each process notices the changes of others (`watching`), and what a turn uses
follows at the next turn. Keys are encrypted with one that follows from the server's secret (`sealing`).
Imports `providers`, `fleet`, `store` and `config`; `app` puts it in force, `http.api` and `cli` show it.
"""
