"""Use cases: receiving a push, running a build, telling the pusher what became of it."""
