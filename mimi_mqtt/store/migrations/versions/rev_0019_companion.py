"""Conversations that a companion server saves for its people."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "companion_conversations",
        sa.Column("user_id", sa.String(128), primary_key=True),
        sa.Column("conversation_id", sa.String(128), primary_key=True),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("last_updated", sa.DateTime(timezone=True), nullable=False),
        sa.Column("chars", sa.Integer(), nullable=False),
    )
    op.create_index(
        "ix_companion_conversations_updated", "companion_conversations", ["user_id", "last_updated"]
    )
    op.create_index("ix_companion_conversations_last_updated", "companion_conversations", ["last_updated"])
    op.create_table(
        "companion_messages",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("user_id", sa.String(128), nullable=False),
        sa.Column("conversation_id", sa.String(128), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("said_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id", "conversation_id"],
            ["companion_conversations.user_id", "companion_conversations.conversation_id"],
            ondelete="CASCADE",
            name="fk_companion_messages_conversation",
        ),
    )
    op.create_index(
        "ix_companion_messages_conversation", "companion_messages", ["user_id", "conversation_id", "id"]
    )


def downgrade() -> None:
    op.drop_table("companion_messages")
    op.drop_table("companion_conversations")
