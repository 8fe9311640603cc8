"""The live page of studies: a server that only reads them, and the process that makes its reports."""
