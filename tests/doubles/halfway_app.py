"""The learning problem of `learning_double` as an app that a real node loads by name."""

from learning_double import halfway_app

app = halfway_app()
