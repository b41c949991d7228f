"""`triptych dashboard`: Streamlit on pipelines/pages.py, for this machine only by default."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from shared.settings import Home

PAGES = Path(__file__).parent / "pages.py"


def serve_dashboard(home: Home, host: str, port: int) -> int:
    """Run until interrupted; returns Streamlit's exit code."""
    try:
        return subprocess.run(**dashboard_process(home, host, port), check=False).returncode
    except KeyboardInterrupt:
        return 0


def dashboard_process(home: Home, host: str, port: int) -> dict[str, Any]:
    """Command and environment of Streamlit over this home, for `subprocess`."""
    command = [
        *(sys.executable, "-m", "streamlit", "run", str(PAGES)),
        *("--server.address", host),
        *("--server.port", str(port)),
        *("--server.headless", "true"),
        *("--browser.gatherUsageStats", "false"),
        *("--client.toolbarMode", "viewer"),
    ]
    settings = {"TRIPTYCH_HOME": str(home.root), "OMP_WAIT_POLICY": "passive"}
    return {"args": command, "env": {**os.environ, **settings}}
