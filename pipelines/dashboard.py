"""`triptych dashboard`: Streamlit on pipelines/pages.py, for this machine only by default."""

import os
import subprocess
import sys
from pathlib import Path

from shared.settings import Home

PAGES = Path(__file__).parent / "pages.py"


def serve_dashboard(home: Home, host: str, port: int) -> int:
    """Run until interrupted; returns Streamlit's exit code."""
    command = [
        *(sys.executable, "-m", "streamlit", "run", str(PAGES)),
        *("--server.address", host),
        *("--server.port", str(port)),
        *("--server.headless", "true"),
        *("--browser.gatherUsageStats", "false"),
        *("--client.toolbarMode", "viewer"),
    ]
    environment = {**os.environ, "TRIPTYCH_HOME": str(home.root), "OMP_WAIT_POLICY": "passive"}
    try:
        return subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 0
