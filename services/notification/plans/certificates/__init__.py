"""The kind `certificate_ready`: a text to whoever holds a new certificate."""
