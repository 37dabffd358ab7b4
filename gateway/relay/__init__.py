"""Between the two sides: who may speak, where a message goes, and what becomes of it."""
