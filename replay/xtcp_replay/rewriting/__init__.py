"""Messages written anew: in the other byte order, in another format, or without what must not be shared."""
