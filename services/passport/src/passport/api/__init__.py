"""HTTP: parse, authenticate, call one service method, present."""
