"""Documents made searchable: read, cut into chunks, embedded, indexed, asked."""
