"""Words: the versioned record of a run and its renderings; imports nothing else of presage."""
