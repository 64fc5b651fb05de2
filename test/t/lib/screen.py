#!/usr/bin/python3
"""screen.py COLUMNS LINES PROGRAM [ARG...]: runs a program on a terminal.

Each line read is a JSON object: {"keys": TEXT} types, {"size": [C, L]} resizes,
{"signal": N} sends; {} does nothing. Each is answered by a line, what the screen
shows now: lines, colours (of each line's first character), echo (whether the
terminal echoes what is typed), status (of the program that ended, or null).
"""
import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios

import pyte

columns, lines = int(sys.argv[1]), int(sys.argv[2])
master, slave = pty.openpty()
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', lines, columns, 0, 0))
child = os.fork()
if child == 0:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in range(3):
        os.dup2(slave, fd)
    os.close(master)
    # pyte does not know how others repeat a character
    os.environ['TERM'] = 'linux'
    os.execv(sys.argv[3], sys.argv[3:])

screen = pyte.Screen(columns, lines)
stream = pyte.ByteStream(screen)
status = None
buffer = b''

while True:
    ready, _, _ = select.select([0, master], [], [])
    if master in ready:
        stream.feed(os.read(master, 65536))
    if 0 not in ready:
        continue
    data = os.read(0, 65536)
    if not data:
        break
    buffer += data
    while b'\n' in buffer:
        line, buffer = buffer.split(b'\n', 1)
        order = json.loads(line)
        if 'keys' in order:
            os.write(master, order['keys'].encode())
        if 'size' in order:
            columns, lines = order['size']
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', lines, columns, 0, 0))
            screen.resize(lines, columns)
        if 'signal' in order:
            os.kill(child, order['signal'])
        if status is None:
            pid, code = os.waitpid(child, os.WNOHANG)
            status = os.waitstatus_to_exitcode(code) if pid else None
        print(json.dumps({
            'lines': [text.rstrip() for text in screen.display],
            'colours': [screen.buffer[y][0].fg for y in range(screen.lines)],
            'echo': bool(termios.tcgetattr(slave)[3] & termios.ECHO),
            'status': status}), flush=True)

if status is None:
    os.kill(child, 9)
