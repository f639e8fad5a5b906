"""Docker engine, images, registry and systemd hosts for the tests and the demo. Standard library only."""
