"""The CKAN plugin `worker`: what CKAN asks of it, and where the answer is."""
from __future__ import annotations

from typing import Any

import ckan.plugins as p

from ckanext.worker import actions, cli, collect


class WorkerPlugin(p.SingletonPlugin):
    """Records each committed change for workers, and hands the records out."""

    p.implements(p.IConfigurable)
    p.implements(p.IConfigDeclaration)
    p.implements(p.IDomainObjectModification, inherit=True)
    p.implements(p.IActions)
    p.implements(p.IAuthFunctions)
    p.implements(p.IClick)

    def declare_config_options(self, declaration: Any, key: Any) -> None:
        amqp_url = declaration.declare(key.ckanext.worker.amqp_url, "amqp://guest:guest@127.0.0.1:5672/")
        amqp_url.set_description("The broker that `ckan worker relay` publishes to.")
        exchange = declaration.declare(key.ckanext.worker.exchange, "")
        exchange.set_description("The exchange that `ckan worker relay` publishes to; empty means ckan.site_id.")

    def configure(self, config: Any) -> None:
        # CKAN's own listeners were registered when its model was imported, so ours come after them.
        collect.listen()

    def notify(self, entity: Any, operation: Any) -> None:
        collect.note(entity, operation)

    def get_actions(self) -> dict[str, Any]:
        return {
            "worker_outbox_poll": actions.worker_outbox_poll,
            "worker_outbox_ack": actions.worker_outbox_ack,
        }

    def get_auth_functions(self) -> dict[str, Any]:
        return {
            "worker_outbox_poll": actions.sysadmins_only,
            "worker_outbox_ack": actions.sysadmins_only,
        }

    def get_commands(self) -> list[Any]:
        return [cli.worker]
