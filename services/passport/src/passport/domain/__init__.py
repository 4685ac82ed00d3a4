"""Rules and values of accounts, clients and tokens: pure, standard library and `shared.errors` only."""
