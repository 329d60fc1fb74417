"""A masked plan becomes the bytes that agents believe: built once, signed once, never written again.

Before: `masking` gave every capture its rule (MaskedPlan). After: `delivery` carries the SealedSpec; `agents.admission`
opens it with the keys that `Signer.verification_keys` names. `key_file` keeps the private keys of this server.
"""
