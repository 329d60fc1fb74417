"""The DWARF 4 and 5 numbers that the readers use (DWARF 5, section 7), and the vendor ones of Go and GNU.

Only what is read has a name here; an unknown tag or attribute is skipped, an unknown form is damage.
"""

from __future__ import annotations

from typing import Final

# Tags
TAG_ARRAY_TYPE: Final = 0x01
TAG_CLASS_TYPE: Final = 0x02
TAG_ENUMERATION_TYPE: Final = 0x04
TAG_FORMAL_PARAMETER: Final = 0x05
TAG_LEXICAL_BLOCK: Final = 0x0B
TAG_MEMBER: Final = 0x0D
TAG_POINTER_TYPE: Final = 0x0F
TAG_REFERENCE_TYPE: Final = 0x10
TAG_COMPILE_UNIT: Final = 0x11
TAG_STRUCTURE_TYPE: Final = 0x13
TAG_SUBROUTINE_TYPE: Final = 0x15
TAG_TYPEDEF: Final = 0x16
TAG_UNION_TYPE: Final = 0x17
TAG_UNSPECIFIED_PARAMETERS: Final = 0x18
TAG_VARIANT: Final = 0x19
TAG_INHERITANCE: Final = 0x1C
TAG_INLINED_SUBROUTINE: Final = 0x1D
TAG_PTR_TO_MEMBER_TYPE: Final = 0x1F
TAG_SUBRANGE_TYPE: Final = 0x21
TAG_BASE_TYPE: Final = 0x24
TAG_CONST_TYPE: Final = 0x26
TAG_ENUMERATOR: Final = 0x28
TAG_SUBPROGRAM: Final = 0x2E
TAG_TEMPLATE_TYPE_PARAMETER: Final = 0x2F
TAG_VARIANT_PART: Final = 0x33
TAG_VARIABLE: Final = 0x34
TAG_VOLATILE_TYPE: Final = 0x35
TAG_RESTRICT_TYPE: Final = 0x37
TAG_NAMESPACE: Final = 0x39
TAG_UNSPECIFIED_TYPE: Final = 0x3B
TAG_RVALUE_REFERENCE_TYPE: Final = 0x42
TAG_ATOMIC_TYPE: Final = 0x47

# Attributes
AT_SIBLING: Final = 0x01
AT_LOCATION: Final = 0x02
AT_NAME: Final = 0x03
AT_BYTE_SIZE: Final = 0x0B
AT_BIT_SIZE: Final = 0x0D
AT_STMT_LIST: Final = 0x10
AT_LOW_PC: Final = 0x11
AT_HIGH_PC: Final = 0x12
AT_LANGUAGE: Final = 0x13
AT_DISCR: Final = 0x15
AT_DISCR_VALUE: Final = 0x16
AT_COMP_DIR: Final = 0x1B
AT_CONST_VALUE: Final = 0x1C
AT_INLINE: Final = 0x20
AT_PRODUCER: Final = 0x25
AT_UPPER_BOUND: Final = 0x2F
AT_ABSTRACT_ORIGIN: Final = 0x31
AT_ARTIFICIAL: Final = 0x34
AT_CALLING_CONVENTION: Final = 0x36
AT_COUNT: Final = 0x37
AT_DATA_MEMBER_LOCATION: Final = 0x38
AT_DECL_FILE: Final = 0x3A
AT_DECL_LINE: Final = 0x3B
AT_DECLARATION: Final = 0x3C
AT_DISCR_LIST: Final = 0x3D
AT_ENCODING: Final = 0x3E
AT_EXTERNAL: Final = 0x3F
AT_FRAME_BASE: Final = 0x40
AT_SPECIFICATION: Final = 0x47
AT_TYPE: Final = 0x49
AT_VARIABLE_PARAMETER: Final = 0x4B
AT_RANGES: Final = 0x55
AT_TRAMPOLINE: Final = 0x56
AT_SIGNATURE: Final = 0x69
AT_DATA_BIT_OFFSET: Final = 0x6B
AT_LINKAGE_NAME: Final = 0x6E
AT_STR_OFFSETS_BASE: Final = 0x72
AT_ADDR_BASE: Final = 0x73
AT_RNGLISTS_BASE: Final = 0x74
AT_ALIGNMENT: Final = 0x88
AT_LOCLISTS_BASE: Final = 0x8C
AT_DELETED: Final = 0x8A
AT_MIPS_LINKAGE_NAME: Final = 0x2007
AT_GNU_DWO_NAME: Final = 0x2130
AT_DWO_NAME: Final = 0x76
# Go, cmd/internal/dwarf/dwarf.go
AT_GO_KIND: Final = 0x2900  # internal/abi.Kind
AT_GO_KEY: Final = 0x2901  # map: key type
AT_GO_ELEM: Final = 0x2902  # slice, map, channel: element type
AT_GO_EMBEDDED_FIELD: Final = 0x2903
AT_GO_RUNTIME_TYPE: Final = 0x2904  # type descriptor, counted from runtime.types; 0: none

# DW_AT_encoding
ATE_BOOLEAN: Final = 0x02
ATE_COMPLEX_FLOAT: Final = 0x03
ATE_FLOAT: Final = 0x04
ATE_SIGNED: Final = 0x05
ATE_SIGNED_CHAR: Final = 0x06
ATE_UNSIGNED: Final = 0x07
ATE_UNSIGNED_CHAR: Final = 0x08
ATE_UTF: Final = 0x10

# DW_AT_calling_convention of a type (DWARF 5, table 7.18)
CC_PASS_BY_REFERENCE: Final = 0x04
CC_PASS_BY_VALUE: Final = 0x05

# DW_AT_language
LANGUAGES_C: Final = frozenset({0x01, 0x02, 0x0C, 0x1D, 0x2C})
LANGUAGES_CPP: Final = frozenset({0x04, 0x1A, 0x21, 0x2B})
LANGUAGE_GO: Final = 0x16
LANGUAGE_RUST: Final = 0x1C
LANGUAGE_ASSEMBLER: Final = 0x8001

# Forms
FORM_ADDR: Final = 0x01
FORM_BLOCK2: Final = 0x03
FORM_BLOCK4: Final = 0x04
FORM_DATA2: Final = 0x05
FORM_DATA4: Final = 0x06
FORM_DATA8: Final = 0x07
FORM_STRING: Final = 0x08
FORM_BLOCK: Final = 0x09
FORM_BLOCK1: Final = 0x0A
FORM_DATA1: Final = 0x0B
FORM_FLAG: Final = 0x0C
FORM_SDATA: Final = 0x0D
FORM_STRP: Final = 0x0E
FORM_UDATA: Final = 0x0F
FORM_REF_ADDR: Final = 0x10
FORM_REF1: Final = 0x11
FORM_REF2: Final = 0x12
FORM_REF4: Final = 0x13
FORM_REF8: Final = 0x14
FORM_REF_UDATA: Final = 0x15
FORM_INDIRECT: Final = 0x16
FORM_SEC_OFFSET: Final = 0x17
FORM_EXPRLOC: Final = 0x18
FORM_FLAG_PRESENT: Final = 0x19
FORM_STRX: Final = 0x1A
FORM_ADDRX: Final = 0x1B
FORM_REF_SUP4: Final = 0x1C
FORM_STRP_SUP: Final = 0x1D
FORM_DATA16: Final = 0x1E
FORM_LINE_STRP: Final = 0x1F
FORM_REF_SIG8: Final = 0x20
FORM_IMPLICIT_CONST: Final = 0x21
FORM_LOCLISTX: Final = 0x22
FORM_RNGLISTX: Final = 0x23
FORM_REF_SUP8: Final = 0x24
FORM_STRX1: Final = 0x25
FORM_STRX2: Final = 0x26
FORM_STRX3: Final = 0x27
FORM_STRX4: Final = 0x28
FORM_ADDRX1: Final = 0x29
FORM_ADDRX2: Final = 0x2A
FORM_ADDRX3: Final = 0x2B
FORM_ADDRX4: Final = 0x2C
FORM_GNU_REF_ALT: Final = 0x1F20
FORM_GNU_STRP_ALT: Final = 0x1F21
