"""Rows against the facts of Redis 8 and Valkey 9; and the grammar covers the groups that are complete."""

import json
import os

import pytest

import grammar

HERE = os.path.dirname(os.path.abspath(__file__))
DRAWN_GROUPS = ("string", "generic", "bitmap")

ACL = "users and their rights come with ACL"
TRACKING = "client-side caching comes with tracking"
PERSISTENCE = "comes with the append-only file"
REPLICATION = "comes with replication"
MODULES = "there are no modules to load"

NOT_YET = {  # of the groups connection and server
    "ACL": ACL, "ACL CAT": ACL, "ACL DELUSER": ACL, "ACL DRYRUN": ACL, "ACL GENPASS": ACL, "ACL GETUSER": ACL,
    "ACL HELP": ACL, "ACL LIST": ACL, "ACL LOAD": ACL, "ACL LOG": ACL, "ACL SAVE": ACL, "ACL SETUSER": ACL,
    "ACL USERS": ACL, "ACL WHOAMI": ACL,
    "BGREWRITEAOF": PERSISTENCE,
    "CLIENT CACHING": TRACKING, "CLIENT GETREDIR": TRACKING, "CLIENT TRACKING": TRACKING,
    "CLIENT TRACKINGINFO": TRACKING,
    "FAILOVER": REPLICATION, "REPLCONF": REPLICATION, "REPLICAOF": REPLICATION,
    "RESTORE-ASKING": "comes with the cluster", "SLAVEOF": REPLICATION,
    "MODULE LOAD": MODULES, "MODULE LOADEX": MODULES, "MODULE UNLOAD": MODULES,
}


# DEBUG's subcommands are rows here, as those of every container are; in Redis and Valkey DEBUG has none. The others are
# Dragonfly's.
OURS = ("DEBUG ", "FIELDEXPIRE", "FIELDTTL", "SADDEX")


@pytest.fixture(scope="session")
def facts():
    # commands.json: COMMAND and COMMAND DOCS of Redis 8.0.6 and Valkey 9.1.2 (see tests/README.md).
    with open(os.path.join(HERE, "commands.json")) as f:
        return json.load(f)


@pytest.fixture
def rows(anax2):
    """Name as in commands.json -> (row of COMMAND INFO, row of COMMAND DOCS)."""
    with anax2.connect() as c:
        c.cmd("HELLO", "3")
        docs = {}
        for name, doc in c.cmd("COMMAND", "DOCS"):
            docs[name] = dict(doc)
            docs.update((sub, dict(d)) for sub, d in docs[name].get(b"subcommands", []))
        infos = c.cmd("COMMAND")
        infos += [sub for info in infos for sub in info[9]]
    return {info[0].decode().upper().replace("|", " "): (info, docs[info[0]]) for info in infos}


def test_every_command_is_drawn_or_has_a_reason(facts):
    names = {name for name, fact in facts.items() if fact["group"] in DRAWN_GROUPS and " " not in name}
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


def words(replies):
    return sorted(word.decode() for word in replies)


def test_every_row_agrees_with_the_facts(rows, facts, against_redis_itself):
    """Arity, keys, flags, ACL categories, group and since of every command that the server has."""
    if against_redis_itself:  # 7.0 is older than the table
        return
    wrong = []
    for name, (info, doc) in sorted(rows.items()):
        if name.startswith(OURS):
            continue
        if name not in facts:
            wrong.append((name, "neither Redis nor Valkey has it"))
            continue
        fact = facts[name]
        said = {"arity": info[1], "keys": info[3:6], "flags": words(info[2]), "acl": words(info[6]),
                "group": doc[b"group"].decode(), "since": doc[b"since"].decode()}
        wrong += [(name, field, value, fact[field]) for field, value in said.items()
                  if value != (sorted(fact[field]) if field in ("flags", "acl") else fact[field])]
    assert not wrong, "\n".join(map(str, wrong))


def test_commands_that_are_not_there_have_a_reason(rows, facts, against_redis_itself):
    """What is listed is not there: the list shrinks when a command comes."""
    if against_redis_itself:
        return
    expected = {name for name, fact in facts.items() if fact["group"] in ("connection", "server")}
    missing = expected - set(rows)
    assert missing == set(NOT_YET), (missing - set(NOT_YET), set(NOT_YET) - missing)


def test_subcommands_of_groups_that_are_complete(rows, facts, against_redis_itself):
    if against_redis_itself:
        return
    missing = {name for name, fact in facts.items()
               if fact["group"] in DRAWN_GROUPS and " " in name and name not in rows}
    assert not missing, missing
