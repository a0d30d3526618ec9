"""Statistics over summaries: pure functions that know no role, no database and no clock."""
