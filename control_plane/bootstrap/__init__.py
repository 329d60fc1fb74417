"""Where every adapter is built, and nowhere else. Entered with the settings, left towards `serving`.

core     the database, the log, identity, policy, enrolment: quick, for the commands at the server's shell
server   the rest of the path on top of it: Redis, signer, gateway, services, the HTTP app
"""
