"""Step 3: YAML or PxL -> `TemplateVersion` in review -> `ApprovedTemplate`, the proof that other people read these bytes.

Before it `policy` granted the permission; after it `tracepoints` asks for an approved version and `masking` binds it.

    lifecycle   which state a version can get into, as one table
    service     submit, review, and the only place that mints an ApprovedTemplate
    plan        a template in words, for the reviewer
    routes      all of it over HTTP
"""
