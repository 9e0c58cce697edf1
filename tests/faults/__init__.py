"""Kills, signals, failing calls, power loss and crowds, in bulk; `report` prints the figures."""
