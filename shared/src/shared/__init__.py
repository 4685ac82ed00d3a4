"""What the Workflow services share: settings, errors, events, bus, database, auth, logs."""
