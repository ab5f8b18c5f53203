"""The grammar covers every command of the groups that are complete."""

import json
import os

import grammar

HERE = os.path.dirname(os.path.abspath(__file__))
GROUPS = ("string", "generic", "bitmap")


def test_every_command_is_drawn_or_has_a_reason():
    # commands.json: COMMAND and COMMAND DOCS of Redis 8.0.6 and Valkey 9.1.2 (see tests/README.md).
    with open(os.path.join(HERE, "commands.json")) as f:
        commands = json.load(f)
    names = {name for name, facts in commands.items() if facts["group"] in GROUPS and " " not in name}
    drawn = {row.name for row in grammar.ROWS}
    missing = names - drawn - set(grammar.NOT_DRAWN)
    assert not missing, missing


def test_reasons_name_no_drawn_command():
    assert not {row.name for row in grammar.ROWS} & set(grammar.NOT_DRAWN)


def test_server_knows_every_drawn_command(anax2):
    unknown = {"NOSUCHCOMMAND", "GETT"}
    with anax2.connect() as c:
        for name in sorted({row.name for row in grammar.ROWS} - unknown):
            info = c.cmd("COMMAND", "INFO", name)
            assert len(info) == 1 and isinstance(info[0], list), name
            assert info[0][0].upper() == name.encode()


def test_arity_and_keys_are_as_in_redis_and_valkey(anax2, against_redis_itself):
    with open(os.path.join(HERE, "commands.json")) as f:
        commands = json.load(f)
    with anax2.connect() as c:
        wrong = []
        for name, facts in sorted(commands.items()):
            if " " in name:
                continue
            info = c.cmd("COMMAND", "INFO", name)[0]
            if not isinstance(info, list):
                continue
            keys = [info[3], info[4], info[5]]
            if info[1] != facts["arity"] or keys != facts["keys"]:
                wrong.append((name, info[1], keys, facts["arity"], facts["keys"]))
    if not against_redis_itself:  # 7.0 is older than the table
        assert not wrong, wrong
