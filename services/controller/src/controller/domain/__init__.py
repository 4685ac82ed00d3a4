"""Rules and values of the controller: pure, without I/O."""
