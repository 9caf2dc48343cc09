"""Where the key of a node's store comes from, so that who takes the SD card does not have it, too."""
