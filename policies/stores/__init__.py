"""Where the counters of plans' limits are kept: this process's memory, or Redis."""
