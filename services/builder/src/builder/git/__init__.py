"""Everything that touches git: repositories, processes, hooks, trees."""
