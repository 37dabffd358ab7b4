"""The S/MIME room: judges what is signed, signs, encrypts and decrypts for hosted accounts (RFC 8551). Knows `core` alone."""
