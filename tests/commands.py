"""Commands as a user types them, run in this process; `capsys` takes what they print."""

from tf_deconv.cli import main


def call(capsys, *arguments):
    """Runs `tf-deconv ARGUMENTS`; returns its exit code, stdout and stderr."""
    try:
        code = main.main([*map(str, arguments)])
    except SystemExit as stop:  # argparse ends by itself
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def does(capsys, *arguments, expected=0):
    """Returns stdout of a command that ends with code `expected` and is silent on stderr."""
    code, out, err = call(capsys, *arguments)
    assert (code, err) == (expected, ""), out + err
    return out


def fails(capsys, *arguments):
    """Returns the one line on stderr of a command that ends with code 2, whatever it printed."""
    code, out, err = call(capsys, *arguments)
    assert code == 2, out + err
    return one_line(err)


def refuses(capsys, *arguments):
    """Returns the one line on stderr of a command that ends with code 2 and prints nothing."""
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, ""), out + err
    return one_line(err)


def one_line(err):
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err
