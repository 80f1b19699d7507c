"""Carry a primary's objects to a node, one statement each, over connections of our own.

Whoever may create a routine decides its text. A client that splits a script into statements does not read this text as
the server does, so no such text goes through one: a dump carries rows only.
"""
