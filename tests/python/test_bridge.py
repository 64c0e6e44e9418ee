"""The conversation with the program, and what is known of one that fails."""

import logging
import os
import time

import pytest

from eggcache import _bridge

GREETING = 'print(\'{"protocol":%d,"eggcache":"0.1.0"}\', flush=True)\n' % _bridge.PROTOCOL

#: Answers each request with the request itself.
ECHO = GREETING + "import sys\nfor line in sys.stdin:\n    print(line.strip(), flush=True)\n"


def failure(program, *ops):
    """The message of the error when a program is asked all this."""
    with pytest.raises(_bridge.BridgeError) as error:
        bridge = _bridge.Bridge(program)
        try:
            for op in ops:
                bridge.call(op)
        finally:
            bridge.kill()
    return str(error.value)


def test_a_request_is_answered(program):
    bridge = _bridge.Bridge(program(ECHO))
    assert bridge.call("find", name="alpha") == {"op": "find", "name": "alpha"}
    assert bridge.close() == {"op": "close"}
    assert bridge._process.returncode == 0


def test_answers_to_posted_requests_are_handled_in_order(program):
    bridge, answers = _bridge.Bridge(program(ECHO)), []
    for number in range(3 * _bridge.MAX_PENDING):
        bridge.post("store", lambda answer, refusal: answers.append(answer["number"]), number=number)
    bridge.close()
    assert answers == list(range(3 * _bridge.MAX_PENDING))


def test_a_refusal_is_an_exception_and_the_bridge_stays_usable(program):
    bridge = _bridge.Bridge(program(ECHO))
    with pytest.raises(_bridge.Refusal, match="is damaged") as refusal:
        bridge.call("materialize", error="the egg is damaged", kind="unusable")
    assert refusal.value.kind == "unusable"
    assert bridge.call("find") == {"op": "find"}
    bridge.close()


def test_the_error_ends_with_the_last_line_of_standard_error(program):
    path = program(
        """
        import sys
        sys.stderr.write("first line\\nerror: the disk is gone\\n\\n  \\n")
        sys.exit(3)
        """
    )
    assert failure(path) == (
        "the eggcache program ended unexpectedly (exit status 3): error: the disk is gone"
    )


def test_a_program_that_dies_silently_is_named_in_the_error(program):
    path = program(GREETING + "import os\nos.kill(os.getpid(), 9)\n")
    assert failure(path, "find") == "the eggcache program ended unexpectedly (signal 9)"


def test_the_last_words_of_a_program_that_exits_are_quoted(program):
    text = "import sys\nsys.stdin.readline()\nsys.stderr.write('no memory')\nsys.exit(1)\n"
    assert failure(program(GREETING + text), "find").endswith("(exit status 1): no memory")


def test_a_request_that_cannot_be_written_quotes_the_program(program, tmp_path):
    ended = tmp_path / "ended"
    path = program(
        GREETING + "import os, sys\nsys.stderr.write('no memory')\nsys.stderr.flush()\n"
        "os.close(0)\nopen(%r, 'w').close()\nsys.stdin = None\n" % str(ended)
    )
    bridge = _bridge.Bridge(path)
    while not ended.exists():
        time.sleep(0.01)
    try:
        with pytest.raises(_bridge.BridgeError, match="exit status 0.: no memory$"):
            bridge.call("find")
    finally:
        bridge.kill()


def test_a_program_that_closes_its_output_is_not_waited_for(program, monkeypatch):
    monkeypatch.setattr(_bridge, "PATIENCE", 0.1)
    path = program("import os, sys, time\nsys.stderr.write('tired\\n')\nos.close(1)\ntime.sleep(60)\n")
    assert failure(path) == "the eggcache program does not answer any more: tired"


def test_another_protocol_is_refused_and_the_program_ended(program):
    path = program(
        """
        import sys, time
        sys.stderr.write("error: too old\\n")
        sys.stderr.flush()
        print('{"protocol":7}', flush=True)
        time.sleep(60)
        """
    )
    message = failure(path)
    assert message == "the eggcache program at %s speaks protocol 7 instead of %d: error: too old" % (
        path,
        _bridge.PROTOCOL,
    )


def test_an_answer_that_is_not_json_is_quoted(program):
    message = failure(program("print('usage: program')\n"))
    assert message == (
        "the eggcache program answered with something other than JSON: b'usage: program\\n'"
    )


def test_standard_error_does_not_fill_up(program):
    text = "import sys\nsys.stderr.write('x' * (1 << 20) + '\\n')\nsys.stderr.flush()\n"
    bridge = _bridge.Bridge(program(text + ECHO))
    assert bridge.call("find") == {"op": "find"}
    bridge.close()


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"", ""),
        (b"\n \n", ""),
        (b"one\ntwo\n\n", "two"),
        (b"x" * 9000, "x" * 200),
        (b"x" * 9000 + b"\nlast\n", "last"),
        (b"\xff\xfe bytes", "\ufffd\ufffd bytes"),
        (b"\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        (b"thread 'main' panicked:\nno memory\nnote: run with ...\n", "no memory"),
        (b"note: alone\n", "note: alone"),
    ],
)
def test_the_last_line_is_short_and_printable(tmp_path, content, expected):
    path = tmp_path / "stderr"
    path.write_bytes(content)
    with open(str(path), "rb") as file:
        assert _bridge.last_line(file) == expected


def test_reading_the_last_line_moves_no_offset(tmp_path):
    # The program writes where the offset of the shared file is.
    with open(str(tmp_path / "stderr"), "w+b", buffering=0) as file:
        file.write(b"one\n")
        assert _bridge.last_line(file) == "one"
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 4


def test_requests_and_answers_are_logged_for_debugging(program, caplog, monkeypatch):
    monkeypatch.setenv("EGGCACHE_SIGNING_KEY_PASSWORD", "secret of this test")
    with caplog.at_level(logging.DEBUG, logger="eggcache"):
        bridge = _bridge.Bridge(program(ECHO))
        bridge.call("find", name="alpha", long="x" * 10000)
        bridge.close()
    lines = caplog.text.splitlines()
    [request] = [line for line in lines if "request find: " in line]
    answer = lines[lines.index(request) + 1]
    assert '"name": "alpha"' in request
    assert "answer: " in answer and '"name": "alpha"' in answer
    assert max(map(len, lines)) < 1200
    assert "secret of this test" not in caplog.text


def test_an_interrupted_exchange_breaks_the_bridge(program):
    bridge = _bridge.Bridge(program(ECHO))

    def interrupted(op):
        raise KeyboardInterrupt

    bridge._answer = interrupted
    with pytest.raises(KeyboardInterrupt):
        bridge.call("find")
    assert bridge.is_broken
    bridge.leave()
    assert bridge._process.wait(10) == 0
    bridge.kill()
