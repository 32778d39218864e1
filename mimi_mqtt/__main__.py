"""`python -m mimi_mqtt` is the `mimi-mqtt` command."""

import sys

from mimi_mqtt.cli import main

if __name__ == "__main__":
    sys.exit(main())
