"""What of an encoder can be trained in a stated time on this machine: measured, estimated, chosen, and written down."""
