# Compares compiled files for eggcache: the code in them, but neither headers nor names of sources.
# Two paths a line, in hexadecimal; the answer is "same" or "differs".
import marshal
import sys


def nameless(code):
    def constant(value):
        return nameless(value) if isinstance(value, type(code)) else value

    return code.replace(co_filename="", co_consts=tuple(constant(value) for value in code.co_consts))


def load(path):
    with open(bytes.fromhex(path), "rb") as file:
        return nameless(marshal.loads(file.read()[16:]))


for line in sys.stdin:
    one, other = line.split()
    try:
        is_same = load(one) == load(other)
    except Exception:
        is_same = False
    print("same" if is_same else "differs")
