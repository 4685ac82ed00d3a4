"""The SSH side: listening, host keys, authentication, one session per git command."""
