"""The probe language: what a template says, before anything is known of a binary or a person.

YAML and PxL are two front ends (`yaml_front_end`, `pxl_front_end`) of one model (`model`); `expressions`
reads what is captured and asked; `canonical` turns a template into the bytes that an approval binds.
Pure: no I/O, no clock, nothing of the control plane or the agent. Both of them import it (ADR 0001).
"""
