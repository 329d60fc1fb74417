"""Ring bytes -> Arrow columns. After `runtime` (which drains the ring), before `masking` (which alone may see them next).

records    bytes of all rows -> numpy views of one field
texts      lengths and bytes -> string columns
values     a layout node     -> a column              (`boxes`: interfaces and variants, `lists`: slices, `maps`, `stacks`)
service    RecordLayout      -> RecordBatch
rows       RecordBatch       -> the JSON objects that DESIGN.md shows
"""
