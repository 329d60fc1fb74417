"""Step 14: columns -> MaskedBatch, with a receipt. Before: `agents.decoding`. After: `agents.uplink`, which takes nothing else.

    service      RecordBatch, rules -> MaskedBatch, within a time `budget`
    columns      one Arrow array, recursively: structs, lists, maps, interface values
    applying     which rule holds at which path, type and kind
    cuts         which values were cut, from `_cut`
    typed_rules  rules by type -> rules by name, once the binary is known
    siblings     what neighbouring columns hold only together
    beyond       texts that were captured past their limit
    outdated     types and lengths, when the policy is over
    texts        distinct strings -> what may be shown of them
    scanning     all of them at once -> which detectors each needs (Vectorscan, kept in `scanner_file`)
    entities     one text -> spans; `views` undo escapes, `detectors` find, `tails` hide what a cut began
    json_texts   what decoding wrote as JSON (interface values, variants), value by value
    numbers      integers through numpy gates; `naming` says what a column's name makes of them
    actions      what hidden values become: fixed words, parts, the tenant's keyed tokens

Everything fails closed: what cannot be masked, or not in time, is replaced by "<UNSCANNED>" and counted.
"""
