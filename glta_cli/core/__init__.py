"""What every other package stands on: errors, files, downloads, the terminal, memory of the process."""
