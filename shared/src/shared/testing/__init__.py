"""Help for tests of the services: a clock to move, waiting on conditions, databases from templates, a RabbitMQ node."""
