"""Owners of files that the command line makes: as root it writes into folders of the service's own user."""

import os
from pathlib import Path


def hand_over(made: Path | int, folder: Path) -> None:
    """Gives a file or folder that root made, by path or descriptor, to the user and group of `folder`. Does
    nothing for another user. Raises OSError.

    What is a symbolic link is not followed: the folder's user could have put it there.
    """
    if os.geteuid() != 0:
        return
    owner = folder.stat()
    if isinstance(made, int):
        os.fchown(made, owner.st_uid, owner.st_gid)
    else:
        os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=False)
