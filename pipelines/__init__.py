"""The command line and the jobs that join the applications."""
