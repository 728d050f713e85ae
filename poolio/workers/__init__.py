"""serve(): a process for each core, replaced when it dies, drained when it ends."""
