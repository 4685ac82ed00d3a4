"""HTTP and WebSockets of the API 2.3: parse, authorise, call one service, present. Nothing is decided here."""

from controller.api import converters

converters.register()  # routes can only be declared with placeholders that the router knows
