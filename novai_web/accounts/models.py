"""Who may sign in, and the tokens they hold."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from novai_web.db import Base, Id


class Role(StrEnum):
    USER = "user"
    ADMIN = "admin"


class Account(Base):
    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("role IN ('user', 'admin')", name="role"),
        Index("uq_accounts_email", func.lower(text("email")), unique=True),
        Index("ix_accounts_name", func.lower(text("name")), "id"),
    )

    id: Mapped[Id]
    email: Mapped[str]
    name: Mapped[str]
    password_hash: Mapped[str]
    role: Mapped[str] = mapped_column(default=Role.USER)
    # Part of every session cookie and access token; raising it signs out everywhere.
    session_version: Mapped[int] = mapped_column(default=1)
    daily_credits: Mapped[int | None]
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    @property
    def is_admin(self) -> bool:
        return self.role == Role.ADMIN

    @property
    def initials(self) -> str:
        words = self.name.split() or [self.email]
        return "".join(word[0] for word in words[:2]).upper()


class RefreshToken(Base):
    """One link of a chain of refresh tokens. Using a link twice means that somebody copied it."""

    __tablename__ = "refresh_tokens"

    id: Mapped[Id]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    family: Mapped[str] = mapped_column(index=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
