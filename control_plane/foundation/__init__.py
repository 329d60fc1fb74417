"""What every step stands on: errors as data, the clock, the database, the port of the audit trail. Imports no step."""
