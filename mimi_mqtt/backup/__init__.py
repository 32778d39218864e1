"""Backups: one encrypted file with the database, the server's secret, the files and the settings.

`making` writes one, `checking` proves one, `restoring` puts one in place of what is there, whole or not at
all, and `interrupted` ends a restore that was interrupted; `archive` says what is in a backup, `sealing` how
it is encrypted. Imports `fleet`, `files` and `store`; the command line, the REST API and the composition root
import it.
"""
