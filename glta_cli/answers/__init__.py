"""What a published run answers: the Python API, and what the commands and the service are written on."""
