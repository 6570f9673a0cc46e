"""Create the table worker_outbox."""
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision = "worker_001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "worker_outbox",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=True),
        sa.Column("message_id", UUID(as_uuid=False), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("routing_key", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("entity_id", sa.Text, nullable=False),
        sa.Column("package_id", sa.Text),
        sa.Column("actor", sa.Text),
        sa.Column("origin", sa.Text),
        sa.Column("payload", sa.Text),
    )


def downgrade():
    op.drop_table("worker_outbox")
