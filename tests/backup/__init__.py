"""The backup program as a process with the real restic: what faults and kills leave behind."""
