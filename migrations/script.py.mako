"""${message}

A change that the running code cannot survive is two migrations and two deploys: first add what the new
code needs, then, when no old process is left, take away what the old code needed. Large indexes are
built CONCURRENTLY in a migration of their own.

Revision: ${up_revision}
Revises: ${down_revision | comma,n}
Made: ${create_date}
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
