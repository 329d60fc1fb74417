"""Step 14: columns -> MaskedBatch, with a receipt. Before: `agents.decoding`. After: `agents.uplink`, which takes nothing else.

    service      RecordBatch, rules -> MaskedBatch
    columns      one Arrow array, recursively: structs, lists, maps, interface values
    applying     which rule holds at which path, type and kind
    cuts         which values were cut, from `_cut`
    typed_rules  rules by type -> rules by name, once the binary is known
    texts        distinct strings -> what may be shown of them; `detectors` find, `tails` hide what a cut began
    json_texts   what decoding wrote as JSON (interface values, variants), value by value
    numbers      integers through numpy gates
    actions      the fixed words, the last four characters, the tenant's HMAC

Everything fails closed: what cannot be masked is replaced by "<UNSCANNED>" and counted.
"""
