"""Step 4 and the centre of the path: a grant and an approved template -> a sealed, expiring probe on its way.

Before it `templates` proved the approval; it asks `masking` and `signing` for the rest of the proof and hands the spec
to `delivery`. What the agents say of it comes back through `reports`; its rows go to `records`.

    lifecycle       the states of a tracepoint, as one table
    service         request, renew, delete: one audited transaction each
    reading         list and show
    table_versions  a table is versioned by its columns
    reports         what agents say: the StatusSink of `delivery`
    enforcement     locks and revoked templates: what runs of them is taken back
    upkeep          what time does: the end of a TTL, specs that Redis lost
    routes          all of it over HTTP
"""
