"""The web server: /metrics, /-/healthy, /-/ready and a landing page, and nothing that costs more than an answer.

server         Server: a thread with an event loop of its own, which accepts, refuses, reloads
admission      who may have a connection: bounds in all and for each address
protocol       HTTP/1 by uvicorn and h11, with a time limit for everything a client may take its time for
application    what is at which path
configuration  exporter-toolkit's web configuration file: TLS, headers, users
passwords      bcrypt, off the event loop, the same time for every wrong answer
"""
