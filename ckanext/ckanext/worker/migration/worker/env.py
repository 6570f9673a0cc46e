"""What alembic runs for `ckan db upgrade -p worker`."""
import sqlalchemy as sa
from alembic import context

from ckanext.worker import outbox

# CKAN looks here for how far this plugin's migrations have come.
OPTIONS = {"target_metadata": outbox.table.metadata, "version_table": "worker_alembic_version"}

url = context.config.get_main_option("sqlalchemy.url")

if context.is_offline_mode():
    context.configure(url=url, literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()
else:
    with sa.create_engine(url, poolclass=sa.pool.NullPool).connect() as connection:
        context.configure(connection=connection, **OPTIONS)
        with context.begin_transaction():
            context.run_migrations()
