"""Makes the tables of a CKAN, and what each test finds in it.  Usage: prepare.py CKAN.INI

Prints the tokens of the two users as JSON: {"admin": …, "editor": …}.
"""
import json
import sys

from ckan import model
from ckan.cli import CKANConfigLoader
from ckan.config.middleware import make_app
from ckan.plugins.toolkit import get_action

USERS = ["admin", "editor"]


def act(action, **parameters):
    context = {"model": model, "ignore_auth": True, "user": "admin"}
    return get_action(action)(context, parameters)


def main(ini):
    app = make_app(CKANConfigLoader(ini).get_config())
    model.repo.init_db()
    tokens = {}
    with app._wsgi_app.test_request_context():
        for name in USERS:
            act("user_create", name=name, email=name + "@portal.invalid", password=name + "-password-1")
        model.User.by_name("admin").sysadmin = True
        model.Session.commit()
        for name in USERS:
            tokens[name] = act("api_token_create", user=name, name="tests")["token"]
        act("organization_create", name="test-org", title="Test organization")
        act("group_create", name="test-group", title="Test group")
    print(json.dumps(tokens))


main(sys.argv[1])
