"""How the kernels of notebooks are talked to: by sockets that no other process can take.

Jupyter picks free TCP ports and lets them go until the kernel takes them. Where several kernels
start at once, as in a sweep or a test run, another one may be faster, and a kernel that finds its
port taken dies (jupyter_client issue 487). A socket that is a file has a name of its own.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path

LONGEST = 100  # characters that the path of such a socket may have, on all systems that have them


def own_sockets() -> dict[str, str]:
    """Return what makes a KernelManager use such sockets; nothing where there are none.

    That is on Windows, and where the path of the folder of temporary files is too long for them.
    """
    begin = str(Path(tempfile.gettempdir()) / f"svcca-{uuid.uuid4().hex[:12]}")
    if os.name != "posix" or len(f"{begin}-65535") > LONGEST:
        return {}
    return {"transport": "ipc", "ip": begin}
