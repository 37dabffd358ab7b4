"""The ground floor: what a message, an address and an outcome are. Values and pure functions; imports no other room."""
