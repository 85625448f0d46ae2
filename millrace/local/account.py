"""Whom a server runs as that refuses to run as root, as Postgres does."""

import os
import pwd
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import MillraceError

SYSTEM_ACCOUNT = "millrace"


class NoServerAccount(MillraceError):
    """Postgres refuses to run as root, and no account could be made for it."""

    type = "no-server-account"
    hint = f"Run Millrace as an ordinary user, or make the account yourself: useradd --system {SYSTEM_ACCOUNT}."


class FolderClosed(MillraceError):
    """Postgres refuses to run as root, and the account that it runs under cannot enter a folder that it needs."""

    type = "folder-closed"
    hint = "Open the folder (chmod o+x), move Millrace or its MILLRACE_HOME elsewhere, or run as an ordinary user."


@dataclass(frozen=True, slots=True)
class Account:
    """How to start a command as somebody: nothing given means as ourselves."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None

    @property
    def extra_groups(self) -> tuple[int, ...] | None:
        """None of root's groups for another user."""
        return None if self.uid is None else ()

    def run(self, *command: str | Path, script: str = "") -> subprocess.CompletedProcess[str]:
        """Run to the end, with ``script`` as its input and the output caught."""
        return subprocess.run(  # noqa: S603 - our own commands
            [*self.prefix, *map(str, command)],
            user=self.uid,
            group=self.gid,
            extra_groups=self.extra_groups,
            cwd="/",  # Ours may be closed to it.
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )

    def own(self, folder: Path) -> None:
        """Make it the owner of the folder and all in it. Only root must; others own what they make."""
        if os.geteuid() != 0:
            return
        uid, gid = self.uid or 0, self.gid or 0
        if folder.stat().st_uid != uid:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, uid, gid, follow_symlinks=False)

    def require_reach(self, *paths: Path) -> None:
        """Raise ``FolderClosed`` with the first folder on the way that it cannot enter."""
        for path in paths:
            if self.run("test", "-x", path).returncode != 0:
                way = [*reversed(path.parents), path]
                raise FolderClosed(f"It is {next(p for p in way if self.run('test', '-x', p).returncode != 0)}.")


def unprivileged_account() -> Account:
    """Ourselves unless we are root; then a user namespace, or else the system account."""
    if os.geteuid() != 0:
        return Account()
    return namespace_account() or system_account()


def namespace_account() -> Account | None:
    """Root under another number: files stay ours, no folder need be opened, no account made.

    Inside a user namespace that maps only our own id, a process sees itself as ``nobody`` and has no capabilities,
    while the file system still knows it as the owner of root's files. None where the system forbids it, as Docker's
    default profile does.
    """
    if not shutil.which("unshare"):
        return None
    nobody = pwd.getpwnam("nobody")
    account = Account(prefix=("unshare", "--user", f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}", "--"))
    return account if account.run("true").returncode == 0 else None


def system_account() -> Account:
    """A system account of its own, made if it is missing; raise ``NoServerAccount``."""
    for command in (None, f"useradd --system --no-create-home --shell /bin/false {SYSTEM_ACCOUNT}".split()):
        if command and shutil.which(command[0]):
            # Its failure shows below: another process may have made the account in the same moment.
            Account().run(*command)
        with suppress(KeyError):
            entry = pwd.getpwnam(SYSTEM_ACCOUNT)
            return Account(uid=entry.pw_uid, gid=entry.pw_gid)
    raise NoServerAccount
