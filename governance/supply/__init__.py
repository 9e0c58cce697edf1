"""What policy says of where packages and nodes come from: age, lists, indexes, vulnerabilities."""
