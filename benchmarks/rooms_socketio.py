"""The same with Flask-SocketIO and Redis, in an environment of its own."""

import os

from flask import Flask
from flask_socketio import SocketIO, emit, join_room

app = Flask(__name__)
socketio = SocketIO(
    app,
    message_queue=os.environ["ROOMS_REDIS"],
    async_mode="gevent",
    # One event after the other: else the speaker's messages lose their order.
    async_handlers=False,
    ping_interval=3600,
)


@socketio.on("join")
def join():
    join_room("crowd")
    emit("ready", os.getpid())


@socketio.on("hello")
def hello():
    emit("ready", os.getpid())


@socketio.on("speak")
def speak(data):
    emit("m", data, to="crowd")
