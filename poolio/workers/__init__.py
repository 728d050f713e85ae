"""serve(): a worker process for each core, which is replaced when it dies and drained when it ends."""
