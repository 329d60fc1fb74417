"""Builders and fakes that the tests share: a fake per port, programs compiled from source."""
