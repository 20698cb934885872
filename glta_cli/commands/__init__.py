"""One file per command: read options, call one stage, show the result. The top imports nothing heavy."""
