"""How trials are placed, run, retried and stopped; the only package that uses Ray's private API."""
