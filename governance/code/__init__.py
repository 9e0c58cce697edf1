"""The code that is governed: kept in repositories of the workspace's own, captured, moved."""
