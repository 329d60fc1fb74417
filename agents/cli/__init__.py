"""The agent's command line: data on stdout, talk on stderr, exit status 0, 2 (template), 3 (cannot bind), 4 (not permitted).

One module a command; `inputs` reads what they share, `problems` turns what went wrong into a line and a status.
"""
